// Modes as chmod takes them: octal, or symbolic as in u+rwX,go-w.

/** What a mode becomes. */
export type ModeChange = (
  mode: number,
  file: { readonly isDirectory: boolean; readonly umask: number },
) => number;

const clausePattern = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/;
const actionPattern = /([-+=])([ugo]|[rwxXst]*)/g;

/** Bits that each class of users covers. */
const classBits = { u: 0o4700, g: 0o2070, o: 0o1007, a: 0o7777 } as const;

/** `undefined` where `text` is no mode. */
export function parseModeChange(text: string): ModeChange | undefined {
  if (/^[0-7]{1,4}$/.test(text)) {
    const mode = Number.parseInt(text, 8);
    return () => mode;
  }
  const clauses = text.split(",").map(parseClause);
  if (!clauses.every((clause) => clause !== undefined)) return undefined;
  return (mode, file) => clauses.reduce((changed, clause) => clause(changed, file), mode);
}

function parseClause(text: string): ModeChange | undefined {
  const match = clausePattern.exec(text);
  if (!match) return undefined;
  const [, who = "", actions = ""] = match;
  // Without a class all are meant, but for what the umask takes away.
  const covered = who === "" ? classBits.a : [...who].reduce(
    (bits, each) => bits | classBits[each as keyof typeof classBits],
    0,
  );
  return (mode, file) => {
    const allowed = who === "" ? covered & ~file.umask : covered;
    for (const [, operator, permissions = ""] of actions.matchAll(actionPattern)) {
      const bits = bitsOf(permissions, mode, file.isDirectory) & allowed;
      if (operator === "+") mode |= bits;
      else if (operator === "-") mode &= ~bits;
      else mode = (mode & ~covered) | bits;
    }
    return mode;
  };
}

/** The bits that permissions stand for, in all classes. */
function bitsOf(permissions: string, mode: number, isDirectory: boolean): number {
  let bits = 0;
  for (const permission of permissions) bits |= bitsOfOne(permission, mode, isDirectory);
  return bits;
}

function bitsOfOne(permission: string, mode: number, isDirectory: boolean): number {
  const inAllClasses = (bits: number) => (bits & 7) * 0o111;
  switch (permission) {
    case "r":
      return 0o444;
    case "w":
      return 0o222;
    case "x":
      return 0o111;
    case "X":
      return isDirectory || (mode & 0o111) !== 0 ? 0o111 : 0;
    case "s":
      return 0o6000;
    case "t":
      return 0o1000;
    case "u":
      return inAllClasses(mode >> 6);
    case "g":
      return inAllClasses(mode >> 3);
    default:
      return inAllClasses(mode);
  }
}
