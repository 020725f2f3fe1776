// Frames as they are on the wire. Whoever changes one of these changes the protocol: peers of another
// version no longer understand each other. That needs a new protocolVersion and a note in CHANGELOG.md.

import { frameKind } from "../../../shared/rpc/frame.ts";
import { mdsService } from "../../../shared/protocol/mds.ts";
import { ossService } from "../../../shared/protocol/oss.ts";
import { helloOpcode } from "../../../shared/rpc/hello.ts";
import type { RawFrame } from "../../support/rpc.ts";
import { errorExample, helloExample, mdsExamples, ossExamples } from "./examples.ts";

export interface GoldenFrame extends RawFrame {
  /** The header's fields, the body and the payload apart. */
  readonly hex: string;
}

const { stat } = mdsService.methods;
const { writeObject, readObject } = ossService.methods;

export const goldenFrames = {
  "a hello": {
    kind: frameKind.request,
    opcode: helloOpcode,
    requestId: 0,
    body: helloExample.request,
    hex: "52535452 01 00 0100 00000000 78000000 00000000 00000000" +
      "86a870726f746f636f6c04a9636c75737465724964d920303132333435363738396162636465663031323334" +
      "3536373839616263646566a577616e7473a36f7373ab746172676574496e64657803a663616c6c6572a6636c" +
      "69656e74ab63726564656e7469616c7381a5746f6b656ea86e6f6e6520796574",
  },
  "the reply to a hello": {
    kind: frameKind.reply,
    opcode: helloOpcode,
    requestId: 0,
    body: helloExample.reply,
    hex: "52535452 01 01 0100 00000000 96000000 00000000 00000000" +
      "87a870726f746f636f6c04a9636c75737465724964d920303132333435363738396162636465663031323334" +
      "3536373839616263646566ab636c75737465724e616d65a6727573747265a4726f6c65a36f7373a66e6f6465" +
      "4964d9206665646362613938373635343332313066656463626139383736353433323130ab74617267657449" +
      "6e64657803a7776f726b65727392cd251c00",
  },
  "a request": {
    kind: frameKind.request,
    opcode: stat.opcode,
    requestId: 0x01020304,
    body: mdsExamples.stat.request,
    hex: "52535452 01 00 1002 04030201 4e000000 00000000 00000000" +
      "84a663616c6c657283a3756964cd03e8a3676964cd03e8a667726f757073930418cd03e8a5706c61636582a3" +
      "696e6f01a470617468a8736f6d652f646972a6666f6c6c6f77c3a661636365737307",
  },
  "a reply": {
    kind: frameKind.reply,
    opcode: stat.opcode,
    requestId: 0x01020304,
    body: mdsExamples.stat.reply,
    hex: "52535452 01 01 1002 04030201 db000000 00000000 00000000" +
      "81aa617474726962757465738ca3696e6fcb433fffffffffffffa474797065a466696c65a46d6f6465cd01a4" +
      "a3756964cefffffffea3676964cd03e8a56c696e6b7301a973697a654279746573cb4330000000000000ac64" +
      "617461456e644279746573cb41f2a05f20000000a76174696d654e73d38000000000000000a76d74696d654e" +
      "73cf17979cfe3d85cd15a76374696d654e73cf7fffffffffffffffa66c61796f757483ab7374726970654279" +
      "746573ce00100000b0737472697065735065724f626a65637440a774617267657473929200019201cdffff",
  },
  "an error": {
    kind: frameKind.error,
    opcode: stat.opcode,
    requestId: 0xffff_ffff,
    body: errorExample,
    hex: "52535452 01 02 1002 ffffffff 3c000000 00000000 00000000" +
      "82a4636f646502a76d657373616765d92b43616e6e6f74207374617420222f61223a206e6f20737563682066" +
      "696c65206f72206469726563746f7279",
  },
  "an upload": {
    kind: frameKind.request,
    opcode: writeObject.opcode,
    requestId: 5,
    body: ossExamples.writeObject.request,
    payload: Uint8Array.of(0x00, 0x7f, 0x80, 0xff),
    hex: "52535452 01 00 0103 05000000 5a000000 04000000 00000000" +
      "86a565706f636807a66f626a656374b9303030303030303030303030303030323a3030303030303031ab6f66" +
      "667365744279746573cd1000a87265706c69636173920102a473796e63c3a9636865636b73756d73c40484be" +
      "fb04" +
      "007f80ff",
  },
  "a request for a download": {
    kind: frameKind.request,
    opcode: readObject.opcode,
    requestId: 6,
    body: ossExamples.readObject.request,
    hex: "52535452 01 00 0203 06000000 51000000 00000000 00000000" +
      "85a565706f636807a66f626a656374b9303030303030303030303030303030323a3030303030303031ab6f66" +
      "66736574427974657300ab6c656e6774684279746573ce00400000a87665726966696564c2",
  },
  "a download": {
    kind: frameKind.reply,
    opcode: readObject.opcode,
    requestId: 6,
    body: ossExamples.readObject.reply,
    payload: Uint8Array.of(0x00, 0x7f, 0x80, 0xff),
    hex: "52535452 01 01 0203 06000000 11000000 04000000 00000000" +
      "81a9636865636b73756d73c40484befb04" +
      "007f80ff",
  },
} satisfies Record<string, GoldenFrame>;
