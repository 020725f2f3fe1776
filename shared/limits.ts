// Every bound and interval of rustre, in one place, with the unit in the name and the reason in
// the comment. Relations between them are asserted at the end, when the module loads.

import { assert } from "./assert.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  // ── names and files ──────────────────────────────────────────────────────────────────────────
  /** A name in a directory, in bytes of UTF-8; what Linux file systems allow. */
  nameBytesMax: 255,
  /** A whole path, as PATH_MAX. */
  pathBytesMax: 4096,
  /** The target of a symbolic link, as PATH_MAX. */
  symlinkBytesMax: 4095,
  /** Symbolic links followed while one path is resolved, as Linux. */
  symlinksFollowedMax: 40,
  /** Levels of directories from the root that rename's loop check walks. */
  directoryDepthMax: 4096,
  /** Hard links to one file; ext4's number. */
  linksMax: 65_000,
  /** Supplementary groups of a caller that are looked at. */
  groupsMax: 1024,
  /** File size: offsets are JavaScript numbers, exact below 2^53; a power of two below that. */
  fileBytesMax: 2 ** 52,
  /** Highest inode number. */
  inodeMax: Number.MAX_SAFE_INTEGER,

  // ── striping ─────────────────────────────────────────────────────────────────────────────────
  stripeBytesDefault: 1 * MiB,
  stripeBytesMin: 64 * KiB,
  stripeBytesMax: 64 * MiB,
  /**
   * An object holds this many stripes of its file, so 64 MiB by default: large enough that a
   * gigabyte needs 16 synced files and not 1,024, small enough to copy in one go at a repair.
   */
  stripesPerObject: 64,
  stripeCountMax: 256,
  replicasMax: 8,
  targetIndexMax: 0xffff,
  /** An OST with less free space gets no new files while others have more. */
  targetReserveBytes: 64 * MiB,
  /** Targets in one cluster. */
  targetsMax: 4096,
  /** Metadata servers, and management servers, in one cluster. */
  serversMax: 256,

  // ── frames and connections ───────────────────────────────────────────────────────────────────
  /** Fixed by the protocol. */
  frameHeaderBytes: 24,
  /** The MessagePack body of a request: a path, a caller with many groups, a batch of ids. */
  requestBodyBytesMax: 64 * KiB,
  /** The MessagePack body of a reply: a directory page of the longest names fits. */
  replyBodyBytesMax: 1 * MiB,
  /** Elements of one array or map in a body. */
  bodyElementsMax: 8192,
  /** Arrays and maps within each other in a body; a directory page with layouts has 7. */
  bodyDepthMax: 16,
  /** The raw bytes of one data request. */
  framePayloadBytesMax: 4 * MiB,
  /** Requests of one connection that a server works on at once; more wait unread in the socket. */
  requestsPerConnectionMax: 128,
  /** Bytes of payload of one connection that a server holds at once; more wait unread. */
  payloadBytesPerConnectionMax: 32 * MiB,
  /** A server that had no room to read a connection for so long knows that what it reads is old. */
  unreadMs: 1_000,
  /** Bytes of replies that wait for a peer to read them before its next request is read. */
  replyQueueBytesMax: 4 * MiB,
  /** Bytes of payload that a server holds at once for all its clients. */
  payloadBytesPerServerMax: 256 * MiB,
  /**
   * The same for all other servers, apart from the clients': two OSTs whose clients have taken all
   * of it would otherwise wait for each other to take what they forward.
   */
  forwardedBytesPerServerMax: 128 * MiB,
  /**
   * Bytes of a file that a connection is given at once: the kernel copies them, or finds their
   * pages, on the thread that serves all others too.
   */
  fileTurnBytes: 1 * MiB,
  /** Bytes of a file that pass through this process at once where it has to copy them. */
  fileCopyBytes: 128 * KiB,
  /** Buffers that a thread keeps to receive payloads into, and to copy files through. */
  pooledBytesMax: 16 * MiB,
  /** How long a connection to this machine itself may take to show whether it takes files. */
  dataPathCheckMs: 5_000,
  /** Connections of one server. */
  connectionsMax: 4096,
  /**
   * A payload is received when so much of it is there, not with each packet: that saves the way
   * through the event loop some ten times for each MiB.
   */
  receiveAtLeastBytes: 256 * KiB,
  /** How long a new connection may stay silent before its hello. */
  helloTimeoutMs: 5_000,
  /** How long a frame that has begun may take to arrive, and a peer not to read what we write. */
  frameTimeoutMs: 30_000,
  /** Connections that one client keeps to one server. */
  connectionsPerServerMax: 2,
  /** Lost connections that one hello takes the place of. */
  replacedConnectionsMax: 64,
  /** For so long a request may still arrive on a lost connection: TCP gives up about then. */
  lateRequestMs: 900_000,
  /** Requests that one client has under way at one server; more wait in the client. */
  requestsPerServerMax: 256,
  /** After an accept that failed, as with too many open files, before the next one. */
  acceptPauseMs: 50,
  connectTimeoutMs: 2_000,
  /** One try of one call, unless the caller says otherwise. */
  callTimeoutMs: 10_000,
  /** A whole operation of the client with all its tries. */
  operationTimeoutMs: 15_000,
  /**
   * One try at an mds while there is another one: of a machine that has vanished nothing else tells.
   * A request that only takes long is recognised at the other one.
   */
  mdsTryMs: 1_000,
  /** An mds that failed is not asked first for so long; by then the map tells. */
  mdsAvoidMs: 3_000,
  /** A read from one replica while there is another one. */
  replicaTimeoutMs: 3_000,
  /** The farewell of a client that ends; the lease does the same a little later. */
  closeSessionTimeoutMs: 2_000,
  /** How long a client looks for an mgs that answers. */
  mgsContactTimeoutMs: 5_000,
  /** One call to one of several mgs, before the next one is asked. */
  mgsCallTimeoutMs: 2_000,
  /** How often a connection looks for calls that are over their time. */
  callSweepMs: 100,
  /**
   * A server that has sent nothing for so long, while a call waited until its time was over, gets a
   * new connection: this one may lead to a machine that is gone.
   */
  silenceMs: 1_500,
  retryDelayMinMs: 10,
  retryDelayMaxMs: 1_000,

  // ── the store: FoundationDB's limits, enforced by every engine ────────────────────────────────
  keyBytesMax: 10_000,
  valueBytesMax: 100_000,
  transactionBytesMax: 10_000_000,
  transactionMs: 5_000,
  rangeEntriesMax: 10_000,
  /** Tries of one transaction before its CONFLICT reaches the caller. */
  transactionAttemptsMax: 64,
  transactionRetryDelayMaxMs: 200,

  // ── the FoundationDB store ───────────────────────────────────────────────────────────────────
  /** Between two tries to reach a database that does not answer, beside what a try takes. */
  storeWaitMs: 1_000,
  /** Transaction objects that are kept to be used again. */
  storeIdleTransactionsMax: 256,

  // ── the sqlite store ─────────────────────────────────────────────────────────────────────────
  /** How long opening waits for another process that is just making or closing the same file. */
  storeOpenTimeoutMs: 5_000,
  /** One try, and the pause before the next: two that open the same new file may block each other. */
  storeOpenTryMs: 50,
  /** Another process has the write lock for about one batch. */
  storeLockRetryMs: 1,
  /** Transactions that share one commit; a larger one gets a commit for itself. */
  storeBatchBytesMax: 16 * MiB,
  /** A snapshot that no new transaction renews is given back after this. */
  storeSnapshotMs: 50,
  /** Values that one generation of the cache of values holds; there are two. */
  storeCachedValues: 4096,
  /** Larger values are not kept there. */
  storeCachedValueBytesMax: 1 * KiB,
  /** SQLite's page cache, of each process. */
  storeCacheBytes: 64 * MiB,
  /**
   * Pages in the log that are not in the database file yet, at which they are copied there, which
   * stops the event loop: for 5 ms with this many, 50 times in a million creates.
   */
  storeLogPages: 4_096,
  /** What the log file is cut to when it is used from its begin again. */
  storeLogBytesKept: 64 * MiB,

  // ── cluster map ──────────────────────────────────────────────────────────────────────────────
  probeIntervalMs: 1_000,
  /** Shorter than the interval, so that two failures in a row show within three seconds. */
  probeTimeoutMs: 800,
  probeFailuresMax: 2,
  /** A node that was not probed for so long registers again. */
  probeSilenceMs: 3_000,
  registerIntervalMs: 1_000,
  /** What a server that stops gives the mgs to hear of it. */
  unregisterTimeoutMs: 1_000,
  /** An mds or mgs that is down for so long is forgotten. */
  serverForgetMs: 600_000,
  /**
   * The lease under which one mgs probes and one mds collects. Whoever waits for it sees that it is
   * over at most two watches later: well within five seconds of its holder's death.
   */
  leaseMs: 3_000,
  leaseRenewMs: 1_000,
  leaseWatchMs: 500,
  /** An mgs probes for another one, which waits for the answer as long as for its own probes. */
  secondProbeTimeoutMs: 600,
  /** An mgs that is cut off leaves the probes for so long to any other that can see the store. */
  stepAsideMs: 1_500,
  /** A client's or server's copy of the map is fetched again after so long. */
  mapRefreshMs: 1_000,
  /** The usage of the OSTs in a copy of the map is at most about so old. */
  usageRefreshMs: 5_000,

  // ── metadata ─────────────────────────────────────────────────────────────────────────────────
  /** Inode numbers taken from the store at a time. */
  inodeRange: 4096,
  /** Entries in one page of a directory. */
  readdirPageMax: 1000,
  /** Entries in one page with their attributes. */
  readdirPlusPageMax: 250,
  /** A session whose client is silent for so long is over, and what it left pending is removed. */
  sessionLeaseMs: 30_000,
  sessionRenewMs: 8_000,
  /**
   * Replies of mutations kept for each client. A client never has mutations under way whose request
   * ids are further apart than this, so no reply is overwritten while it may be asked for again.
   */
  repliesPerClient: 1024,
  /** Files that one batch creates, and so many that it commits. */
  batchFilesMax: 64,
  /** Of what a batch says of its files, about: the reply is one value in the store. */
  batchReplyBytesMax: 64 * KiB,
  collectIntervalMs: 1_000,
  /** Inodes destroyed with one round of requests. */
  collectBatch: 256,
  /** Objects named in one sync request. */
  objectsPerSyncMax: 1024,
  /** Objects named in one request that lists or looks up many. */
  objectsPerListMax: 1024,
  /** Inodes that an oss remembers as destroyed, to refuse writes that were on their way. */
  destroyedInodesRemembered: 65_536,

  // ── objects ──────────────────────────────────────────────────────────────────────────────────
  /**
   * A file's bytes up to this many are read and written on the server's own thread: the way to
   * another one and back costs more than the copy, which takes some 5 microseconds.
   */
  syncIoBytesMax: 64 * KiB,
  /**
   * Objects that an OST keeps open, each with one or two descriptors: more than a checkpoint leaves
   * unfinished, or there would be none to close.
   */
  openObjectsMax: 2048,
  /**
   * Objects of up to so many blocks have their checksums in an attribute of their file: what ext4
   * has room for in an inode of 256 bytes.
   */
  attributeChecksumsMax: 8,
  /** So many files and directories are synced by syncing their whole file system. */
  syncTogetherMin: 32,
  /** Writes from so many bytes on go to new blocks of an object's file, not to the journal. */
  directWriteBytesMin: 64 * KiB,
  /** And from so many on past the system's cache, where the platform can. */
  uncachedWriteBytesMin: 256 * KiB,
  /** A write that takes longer waits for the disk: those that follow do so on other threads. */
  slowWriteMs: 20,
  /** For how long. */
  slowWritesMs: 1_000,
  /** Bytes in a segment of an OST's journal at which a checkpoint begins. */
  journalSegmentBytes: 16 * MiB,
  /** Bytes in all of its segments at which changes wait for the checkpoint. */
  journalBytesMax: 64 * MiB,
  /** Writes of parts of a block that the journal has; the next one is of the whole block. */
  blockPartsMax: 16,
  /** Objects with changes that are in the journal only at which a checkpoint begins. */
  journaledObjectsMax: 1024,
  /**
   * Bytes of large new writes at which one begins too: a start has to read those that nobody had
   * synced, to tell whether they are there.
   */
  filledBytesMax: 256 * MiB,
  /** Objects that a checkpoint brings to disk together. */
  checkpointBatch: 256,
  /** How long a change is in the journal only, about: what a start has to read is bounded by it. */
  checkpointIntervalMs: 5_000,
  /** Operations on files that an OST has under way on other threads. */
  fileOperationsMax: 64,
  /** Writes and resizes of one object that wait for each other; more are refused. */
  objectQueueMax: 1024,
  /** How long a write or resize may wait for its turn; its sender gives up soon after. */
  changeWaitMs: 5_000,
  /**
   * A block of an object: what has a checksum of its own. The page of a kernel's cache, so that a
   * page is written and read without its neighbours.
   */
  checksumBlockBytes: 4 * KiB,
  /** What one scrub request reads, about: a fraction of a second. */
  scrubBytesMax: 64 * MiB,
  /** How long it works at most, about: much less than its caller waits. */
  scrubRequestMs: 2_000,
  /** Damaged ranges that one reply to it names; it ends early where there may be more. */
  scrubDamagedMax: 1024,
  /** What is read between two pauses, in which other requests get their turn. */
  scrubPieceBytes: 1 * MiB,
  /** The same, where there are many small objects. */
  scrubTurnMs: 5,
  /** Objects that a scrub looks up at a time. */
  scrubListMax: 256,
  /** OSTs that one scrub of a cluster asks at once. */
  scrubTargetsInFlight: 64,
  /** Repairs that an OST has under way, each with up to a frame's payload in memory. */
  repairsMax: 4,
  /** Damaged blocks that an OST remembers, to count each once; with more, its whole disk is. */
  damagedBlocksRemembered: 65_536,
  /** Objects that an OST remembers as damaged; with more, its whole disk is. */
  failedObjectsRemembered: 65_536,
  /** How long a primary waits for a replica: less than its own caller waits for it. */
  forwardTimeoutMs: 8_000,

  // ── client ───────────────────────────────────────────────────────────────────────────────────
  /** What a client puts into one batch, about: the rest of a request's body is the caller's. */
  batchRequestBytes: 48 * KiB,
  /** Batches of one caller under way at the mds; meanwhile the next one gathers. */
  batchesInFlight: 2,
  /** One that takes longer is not waited for any more: its server may have gone. */
  batchWaitMs: 250,
  /** Bytes in one data request of a put or get. */
  transferBytes: 1 * MiB,
  /**
   * Bytes of an object that one request of a put writes, stripes that lie apart in the file: each
   * request takes an OST some 0.3 ms of processor time, whatever it moves.
   */
  writeBytesMax: 4 * MiB,
  /** Requests that a stream in order has under way. */
  transferWindow: 16,
  /** Bytes in the buffers of one put or get, of all its files: the memory that it takes. */
  transferBufferBytes: 48 * MiB,
  /**
   * Bytes that a client has under way from one OST: enough for a fast network, so little that an OST
   * that hangs does not take the buffers of the others, and that a processor's cache holds them.
   */
  targetWindowBytes: 4 * MiB,
  /** The same on their way there: one write is received while another goes to the disk. */
  writeWindowBytes: 8 * MiB,
  /**
   * And on their way to all OSTs, however many there are: of a network that takes 4 MB/s or more
   * none of them waits longer than for callTimeoutMs.
   */
  writesUnderWayBytes: 32 * MiB,
  /** What a small request counts there: so many of them cost a server as much as this. */
  targetWindowRequestBytes: 64 * KiB,
  /** Repairs that a client has asked for and that are under way at once; each reads a few MiB. */
  clientRepairsInFlight: 4,
  /** Repairs under way or waiting; of more damage the next reader tells, or a scrub. */
  clientRepairsMax: 256,
  /** How long a client that closes waits for its repairs. */
  clientRepairsCloseMs: 5_000,
  /** Damaged copies that a client reports as warnings once, and from then on for debugging only. */
  damagedCopiesReported: 1024,
  /** How often a get begins again with a file that was replaced while it was read. */
  downloadRestartsMax: 3,
  /** Attributes of a listing that is not older are taken for those at the opening of a file. */
  listedAttributesMs: 1_000,
  /** Files that a recursive put or get works on at once. */
  filesInFlight: 64,
  /** Branches of a tree that are walked at once; each costs one page of a directory. */
  branchesInFlight: 8,
  /** Entries that a recursive remove or change works on at once. */
  entriesInFlight: 32,
  /** Entries of a stripe map that `stat` shows: as text, and as JSON. */
  stripeMapLinesMax: 64,
  stripeMapRangesMax: 10_000,
  /** Output of a command that is collected before it is written. */
  outputBufferBytes: 64 * KiB,
  /** Work that takes longer shows its progress. */
  progressDelayMs: 1_000,
  /** `status --watch` */
  statusIntervalMs: 1_000,

  // ── checking and moving a store ──────────────────────────────────────────────────────────────
  /** Keys that a check of the store reads at a time. */
  checkPageEntries: 4096,
  /** Inodes and entries that a check looks into together, when they did not fit on the way. */
  checkSuspectsMax: 100_000,
  /** And of these in all, at some 50 bytes each; the rest is left undecided. */
  checkAllSuspectsMax: 4_000_000,
  /** How often it looks again at what changes all the time, before it leaves it undecided. */
  checkRoundsMax: 10,
  /** Before it looks again: longer than any clock stands still, which tells changes apart. */
  checkPauseMs: 50,
  /** How often it finds an object too long before it says so. */
  checkLooks: 3,
  /**
   * An OST has told its usage by then, or is down: also where the mgs that probes has just died, or
   * is cut off, and another one takes over.
   */
  checkUsageDelayMs: 30_000,
  /** What is read in one transaction to be compared is read within this, or not at all. */
  checkTransactionMs: 4_000,
  /** And in so many pages: an engine keeps what a transaction has read. */
  checkMomentPages: 64,
  /** Suspects that it reads from the store at once. */
  checkReadsInFlight: 32,
  /**
   * How long it waits for work that is due: a new collector ends no session before it has held its
   * lease for a session's lease.
   */
  checkPatienceMs: 60_000,
  /** And this long at the most, as long as it sees that some of it is done. */
  checkProgressMs: 3_600_000,
  /** An expired session that is so much older than its lease has been forgotten by all. */
  checkSessionSlackMs: 300_000,
  /** Inode numbers that a repair leaves out: 256 mds, or workers of them, may have taken a range. */
  checkNumbersSkipped: 2 ** 20,
  /** Entries that a copy of a store reads at a time; the largest values make that 100 MB. */
  storeCopyPageEntries: 1000,
  /** Bytes of keys and values that it writes in a transaction, about. */
  storeCopyBatchBytes: 1 * MiB,
  /** A line of progress on a terminal is not drawn more often. */
  progressLineMs: 200,

  // ── processes ────────────────────────────────────────────────────────────────────────────────
  /** A configuration file. */
  configurationBytesMax: 64 * KiB,
  /** Characters of log lines that wait to be written; more lines are counted and dropped. */
  logBufferLength: 4 * MiB,
  /** Time that requests under way get at a stop. */
  drainMs: 5_000,
  /** Threads of one server. */
  workersMax: 64,
  /** By default it has as many as there are cores, up to this: each takes some 50 MiB. */
  workersDefaultMax: 8,
  /** A worker that lived for so long did not die of its start. */
  workerSteadyMs: 10_000,
  /** Deaths of workers in one place in a row, none of them steady, after which the process ends. */
  workerDeathsMax: 8,
  /** Before the second successor in a row, doubled with each further one; the first starts at once. */
  workerRestartMinMs: 100,
  workerRestartMaxMs: 2_000,
  /** A worker that has not stopped by then is ended: it drains and unregisters within this. */
  workerStopMs: 8_000,
  /** A server that has not stopped by then ends. */
  stopMs: 10_000,
} as const;

assert(limits.stripeBytesMin <= limits.stripeBytesDefault, "default stripe below the minimum");
assert(limits.stripeBytesDefault <= limits.stripeBytesMax, "default stripe above the maximum");
assert(limits.transferBytes <= limits.framePayloadBytesMax, "a transfer must fit into a frame");
assert(limits.writeBytesMax <= limits.framePayloadBytesMax, "a write must fit into a frame");
assert(
  limits.pooledBytesMax >= limits.framePayloadBytesMax,
  "a payload must fit into the buffers that are kept",
);
assert(
  limits.transferBytes <= limits.targetWindowBytes,
  "a transfer must fit into the window of an OST",
);
assert(limits.transferBytes <= limits.writeBytesMax, "a stripe's share must fit into a write");
assert(
  limits.writeWindowBytes <= limits.writesUnderWayBytes,
  "the window of an OST must fit into that of all of them",
);
assert(
  2 * limits.writeBytesMax <= limits.writeWindowBytes,
  "an OST must be able to take a write while it does another",
);
assert(
  limits.transferWindow * limits.transferBytes <= limits.transferBufferBytes,
  "the window of a stream must fit into its buffers",
);
assert(
  limits.payloadBytesPerConnectionMax >= 2 * limits.framePayloadBytesMax,
  "a connection must be able to hold one payload while it receives the next",
);
assert(
  limits.probeFailuresMax * limits.probeIntervalMs + limits.probeTimeoutMs < 3_000,
  "a dead node must show within three seconds",
);
assert(limits.leaseMs >= 3 * limits.leaseRenewMs, "a lease must survive two lost renewals");
assert(
  limits.leaseMs + 2 * limits.leaseWatchMs < 5_000,
  "a lease must pass on within five seconds of its holder's death",
);
assert(
  limits.leaseWatchMs < limits.leaseRenewMs,
  "a lease must be watched more often than renewed",
);
assert(
  limits.stepAsideMs > 2 * limits.leaseWatchMs,
  "another mgs must have seen that the lease is free before it is taken back",
);
assert(
  limits.secondProbeTimeoutMs < limits.probeTimeoutMs,
  "an mgs must be able to say in time that its own probe was not answered",
);
assert(
  limits.sessionLeaseMs >= 3 * limits.sessionRenewMs,
  "a session must survive two lost renewals",
);
assert(
  limits.readdirPageMax * (limits.nameBytesMax + 512) < limits.replyBodyBytesMax,
  "a page of the longest names must fit into a body",
);
assert(
  limits.objectsPerSyncMax * 32 < limits.requestBodyBytesMax,
  "the ids of one sync must fit into a request",
);
assert(
  limits.objectsPerListMax * 32 < limits.requestBodyBytesMax,
  "the ids of one lookup must fit into a request",
);
assert(
  limits.checkTransactionMs < limits.transactionMs,
  "a check must end its transaction before the store does",
);
assert(
  limits.checkPatienceMs > limits.sessionLeaseMs + limits.leaseMs + 2 * limits.collectIntervalMs,
  "a check must wait until a new collector has ended what it found",
);
assert(
  limits.checkUsageDelayMs > 2 * (limits.leaseMs + limits.stepAsideMs),
  "a check must not take what an OST said long ago for what it says",
);
assert(
  limits.storeCopyBatchBytes + limits.valueBytesMax + limits.keyBytesMax <
    limits.transactionBytesMax / 2,
  "a batch of a copy must fit into a transaction",
);
assert(
  limits.batchReplyBytesMax < limits.valueBytesMax,
  "the reply of a batch must fit into a value",
);
assert(limits.readdirPageMax <= limits.rangeEntriesMax, "a page must fit into one range read");
assert(
  limits.changeWaitMs < limits.forwardTimeoutMs,
  "a write must be refused for waiting before its sender stops waiting",
);
assert(
  limits.unreadMs + limits.changeWaitMs < limits.forwardTimeoutMs,
  "the same where it waited to be read, too",
);
assert(
  limits.forwardTimeoutMs < limits.callTimeoutMs,
  "a primary must be able to say which replica did not answer",
);
assert(
  limits.operationTimeoutMs >= limits.callTimeoutMs,
  "an operation must outlast one try",
);
assert(
  limits.drainMs + limits.unregisterTimeoutMs < limits.workerStopMs,
  "a worker must have the time to stop in good order",
);
assert(limits.workerStopMs < limits.stopMs, "a server must outlast its workers");
assert(
  limits.storeBatchBytesMax >= limits.transactionBytesMax,
  "the largest transaction must fit into a batch",
);
