// The systemd units of the servers, and the user that they run as.

import { version } from "../shared/version.ts";

export interface InstalledFile {
  /** From the root of the tree. */
  readonly path: string;
  readonly text: string;
}

export const serviceUser = "rustre";

interface Role {
  readonly name: string;
  readonly description: string;
  /** Behind the path of the executable. */
  readonly command: string;
  /** They stop after this one, so that it can tell them that it leaves. */
  readonly after: readonly string[];
}

const roles: readonly Role[] = [
  { name: "rustre-mgs", description: "rustre management server", command: "mgs", after: [] },
  {
    name: "rustre-mds",
    description: "rustre metadata server",
    command: "mds",
    after: ["rustre-mgs.service"],
  },
  {
    name: "rustre-oss@",
    description: "rustre object storage server, OST %i",
    command: "oss --index %i",
    after: ["rustre-mgs.service", "rustre-mds.service"],
  },
];

/** `executable`: an absolute path. */
export function unitFiles(executable: string): InstalledFile[] {
  return roles.map((role) => {
    return { path: `etc/systemd/system/${role.name}.service`, text: unitOf(role, executable) };
  });
}

/** For systemd-sysusers(8). */
export const userFile: InstalledFile = {
  path: `etc/sysusers.d/${serviceUser}.conf`,
  text: `# The user of the rustre servers.
u ${serviceUser} - "rustre servers" /var/lib/rustre
`,
};

/**
 * What must not be here: MemoryDenyWriteExecute, because the engine compiles to memory; PrivateUsers
 * and DynamicUser, because directories of OSTs keep their owner; ProtectSystem=strict, because those
 * may be anywhere. The limit of descriptors is that of the most workers that a server may have.
 */
function unitOf({ description, command, after }: Role, executable: string): string {
  return `# Written by "rustre admin install-units" of rustre ${version}, and written anew by the
# next one. Changes belong into a drop-in: systemctl edit UNIT
[Unit]
Description=${description}
Wants=network-online.target
After=${["network-online.target", ...after].join(" ")}
# However often it fails, as while the network is not there: RestartSec keeps it from being too often.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart=${quoteWord(executable)} ${command}
ExecReload=kill -HUP $MAINPID
# It waits for an mgs however long that takes.
TimeoutStartSec=infinity
# It ends itself after 10 s.
TimeoutStopSec=20
KillMode=mixed
Restart=on-failure
RestartSec=2
# A wrong configuration: the same start would fail again.
RestartPreventExitStatus=2

User=${serviceUser}
Group=${serviceUser}
UMask=0077
StateDirectory=rustre
StateDirectoryMode=0700
LogsDirectory=rustre
CacheDirectory=rustre
Environment=RUSTRE_CACHE_DIR=/var/cache/rustre
LimitNOFILE=524288

CapabilityBoundingSet=
NoNewPrivileges=yes
LockPersonality=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=full
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
`;
}

/** As one word of ExecStart, where "%" and "$" have meanings. */
function quoteWord(path: string): string {
  const escaped = path.replace(/["\\]/g, "\\$&").replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[A-Za-z0-9/._+%$-]+$/.test(path) ? escaped : `"${escaped}"`;
}
