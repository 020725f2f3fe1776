// What the self-extracting executable says about the files in it, for the one who packs them and the
// one who unpacks them.

export interface PackedFile {
  readonly name: string;
  readonly mode: number;
  readonly sizeBytes: number;
  /** Hexadecimal digits. */
  readonly sha256: string;
}

/**
 * The archive is the manifest's length (uint32, little-endian), the manifest as JSON, and the bytes
 * of all files in its order, except Deno's own: that one is behind the archive, compressed.
 */
export interface Manifest {
  readonly files: readonly PackedFile[];
  /** Of the script in front and of the program that unpacks, so that another one is another version. */
  readonly scriptsSha256: string;
}

/** Deno, under the name that shall stand in the list of processes. */
export const denoName = "rustre";

/** The directory beside the files that changes as they run. */
export const stateName = "state";

/** In the state directory: that of Deno, for its user alone. start.sh knows it as well. */
export const cacheName = "deno";

/** In the state directory; locked, shared, by whoever runs from these files. */
export const inUseName = "in_use";

/** All files have it, so that `ls` shows whether one was written later. 2000-01-01, in seconds. */
export const fileTime = 946_684_800;

/** As `ls -l` shows {@link fileTime} in UTC. */
export const fileTimeText = "Jan 1 2000";
