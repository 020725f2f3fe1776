// How this program was built. A build puts a file of its own in the place of this one.

export interface BuildInfo {
  readonly kind: "checkout" | "compiled executable" | "self-extracting executable";
  /** Of the sources; "unknown" where they were in no repository. A checkout asks git. */
  readonly commit?: string;
}

export const buildInfo: BuildInfo = { kind: "checkout" };
