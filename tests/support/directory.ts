// A directory of a test, which goes with it.

export async function inDirectory(test: (directory: string) => Promise<void> | void) {
  const directory = await Deno.makeTempDir({ prefix: "rustre-test-" });
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
