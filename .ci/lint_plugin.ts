// The house rules that `deno lint` does not know: which folder may import which, and where time,
// chance and the network may come from.

import { dirname, relative, resolve } from "node:path";

const root = resolve(import.meta.dirname ?? ".", "..");

// ── layers ─────────────────────────────────────────────────────────────────────────────────────

/** What each folder may import beside itself. A folder that is not here may import everything. */
const layers = new Map<string, readonly string[]>(Object.entries({
  shared: [],
  mgs: ["shared"],
  mds: ["shared"],
  oss: ["shared"],
  client: ["shared"],
}));

/** Where everything that is not shipped lives: nothing that is may depend on it. */
const notShipped: readonly string[] = ["tests", "bench", ".ci", "docs", "packaging"];

/** The first segment of a path below the root; of a file in the root itself, its name. */
function folderOf(path: string): string {
  return relative(root, path).split("/")[0] ?? "";
}

function importProblem(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith(".") && !specifier.startsWith("/")) return undefined;
  const from = folderOf(file);
  const to = folderOf(resolve(dirname(file), specifier));
  if (from === to) return undefined;
  const allowed = layers.get(from);
  if (allowed && !allowed.includes(to)) {
    const may = allowed.length > 0 ? `${allowed.join(", ")} and itself` : "itself";
    return `${from}/ must not import ${to}: it may import ${may} only`;
  }
  if (notShipped.includes(to) && !notShipped.includes(from)) {
    return `${from} must not import ${to}, which is not shipped`;
  }
  return undefined;
}

const layersRule: Deno.lint.Rule = {
  create(context) {
    const file = resolve(root, context.filename);
    const check = (node: Deno.lint.Node, source: Deno.lint.Node | null) => {
      if (source?.type !== "Literal" || typeof source.value !== "string") return;
      const message = importProblem(file, source.value);
      if (message) context.report({ node, message });
    };
    return {
      ImportDeclaration: (node) => check(node, node.source),
      ExportNamedDeclaration: (node) => check(node, node.source),
      ExportAllDeclaration: (node) => check(node, node.source),
      ImportExpression: (node) => check(node, node.source),
      TSImportType: (node) =>
        check(node, node.argument.type === "TSLiteralType" ? node.argument.literal : null),
    };
  },
};

// ── time, chance and the network ───────────────────────────────────────────────────────────────

/** They run in the real world, or make it. */
const realWorld: readonly string[] = [
  "shared/platform.ts",
  "shared/tcp_transport.ts",
  "tests/",
  "bench/",
  "packaging/",
  ".ci/",
];

const useClock = "use the environment's clock";
const useRandom = "use the environment's random";
const useTransport = "use the environment's transport";

/** object.member, banned whether called or passed on. */
const bannedMembers = new Map(Object.entries({
  "Date.now": `${useClock}: clock.nowMs()`,
  "performance.now": `${useClock}: clock.monotonicMs()`,
  "AbortSignal.timeout": "use withDeadline() of shared/deadline.ts",
  "Math.random": `${useRandom}: random.below()`,
  "crypto.getRandomValues": `${useRandom}: random.bytes()`,
  "crypto.randomUUID": `${useRandom}: randomHex()`,
  "Deno.connect": `${useTransport}: transport.connect()`,
  "Deno.connectTls": useTransport,
  "Deno.listen": `${useTransport}: transport.listen()`,
  "Deno.listenTls": useTransport,
  "Deno.listenDatagram": useTransport,
  "Deno.serve": useTransport,
}));

const bannedCalls = new Map(Object.entries({
  setTimeout: `${useClock}: clock.setTimer(), sleep()`,
  setInterval: `${useClock}: Periodic of shared/periodic.ts`,
  setImmediate: `${useClock}: clock.setTimer()`,
  fetch: useTransport,
  Date: `${useClock}: clock.nowMs()`,
}));

const bannedModules = new Map(Object.entries({
  "node:timers": useClock,
  "node:timers/promises": useClock,
  "node:net": useTransport,
  "node:tls": useTransport,
  "node:dgram": useTransport,
  "node:http": useTransport,
  "node:https": useTransport,
}));

function isExempt(filename: string): boolean {
  const path = relative(root, resolve(root, filename));
  return realWorld.some((each) => each.endsWith("/") ? path.startsWith(each) : path === each);
}

const determinismRule: Deno.lint.Rule = {
  create(context) {
    if (isExempt(context.filename)) return {};
    const report = (node: Deno.lint.Node, what: string, instead: string | undefined) => {
      if (instead) context.report({ node, message: `${what} is not deterministic: ${instead}` });
    };
    return {
      MemberExpression(node) {
        if (node.object.type !== "Identifier" || node.property.type !== "Identifier") return;
        const name = `${node.object.name}.${node.property.name}`;
        report(node, name, bannedMembers.get(name));
      },
      CallExpression(node) {
        if (node.callee.type !== "Identifier") return;
        report(node, `${node.callee.name}()`, bannedCalls.get(node.callee.name));
      },
      NewExpression(node) {
        const isNow = node.callee.type === "Identifier" && node.callee.name === "Date" &&
          node.arguments.length === 0;
        if (isNow) report(node, "new Date()", bannedCalls.get("Date"));
      },
      ImportDeclaration(node) {
        report(node, `"${node.source.value}"`, bannedModules.get(node.source.value));
      },
    };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "rustre",
  rules: { layers: layersRule, determinism: determinismRule },
};
export default plugin;
