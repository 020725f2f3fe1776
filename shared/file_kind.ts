// What stands where a file is named.

/**
 * What it is instead of a file, or of a device such as /dev/null; `undefined` where it is one of
 * them. To be asked before something that is named by the user is opened: opening a pipe waits for
 * its other end.
 */
export function otherThanFile(info: Deno.FileInfo): string | undefined {
  if (info.isDirectory) return "a directory";
  if (info.isFifo === true) return "a pipe";
  if (info.isSocket === true) return "a socket";
  return info.isBlockDevice === true ? "a disk" : undefined;
}
