/** The message format, frozen: one frame each way with every field in use. A change here breaks deployed clients. */
import { CallMessage, type ClientFrame, type Welcome } from "./messages.ts";

const plainCall = Object.assign(new CallMessage(), {
  seq: 1,
  type: "counter",
  key: "visits",
  method: "increment",
  args: Uint8Array.of(0x91, 0x03),
  issuedAtUs: 978_307_200_000_000,
});

const fullCall = Object.assign(new CallMessage(), {
  seq: 300,
  type: "airport",
  key: "é".repeat(70),
  method: "record",
  timeoutMs: 200,
  attempt: 2,
  issuedAtUs: 978_307_199_000_000,
  consistency: "quorum",
  oneWay: true,
  namespace: "test",
  branch: "what-if",
  idempotencyKey: "order-7",
  idempotencyTtlMs: 86_400_000,
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  path: "0.2",
  chain: ["route/JFK-LAX", "airport/LAX"],
  term: 3,
  principal: "ops",
});

export const GOLDEN_CLIENT_FRAME: ClientFrame = {
  hello: {
    protocolVersion: 1,
    sessionId: "AAECAwQFBgcICQoLDA0ODw",
    features: ["x"],
    bearerToken: "secret",
    principal: "me",
    clientName: "pinion-ts",
  },
  calls: [plainCall, fullCall],
  cancels: [7],
  ackedBelow: 6,
  hlcUs: 978_307_200_000_001,
};

export const GOLDEN_CLIENT_FRAME_HEX = [
  "0a340801121641414543417751464267634943516f4c4441304f44771a017822067365637265742a026d65320970696e",
  "696f6e2d7473122b08011207636f756e7465721a067669736974732209696e6372656d656e7441002023e5c37903002a",
  "02910312b80208ac021207616972706f72741a8c01c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3",
  "a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3",
  "a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3",
  "a9c3a9c3a9c3a9c3a9c3a9c3a9c3a9c3a922067265636f726430c801380241c0dd13e5c37903005a0474657374620777",
  "6861742d6966480150016a076f726465722d377080b899297a3730302d30616637363531393136636434336464383434",
  "386562323131633830333139632d623761643662373136393230333333312d3031820103302e328a010d726f7574652f",
  "4a464b2d4c41588a010b616972706f72742f4c4158900103a201036f70731a020807200629012023e5c3790300",
].join("");

export const GOLDEN_WELCOME: Welcome = {
  protocolVersion: 1,
  clusterId: "c-1",
  host: "a",
  incarnation: 3,
  shardMap: {
    shardCount: 2,
    workers: [
      { host: "a", worker: 0, address: "a:7070" },
      { host: "b", worker: 1, address: "b:7070" },
    ],
    owners: [0, 1],
    terms: [1, 300],
    version: 9,
  },
  actorTypes: [
    {
      name: "counter",
      methods: [
        { name: "increment", readonly: false },
        { name: "value", readonly: true },
      ],
    },
  ],
  limits: { maxInFlight: 4096, maxFrameBytes: 4_194_304, sessionExpiryMs: 600_000 },
  features: ["y"],
  hostVersion: "0.1.0",
  worker: 1,
};

export const GOLDEN_HOST_FRAME_HEX = [
  "0a7408011203632d311a016120032a290802120b0a01611a06613a37303730120d0a016210011a06623a373037301a02",
  "0001220301ac02280932210a07636f756e746572120b0a09696e6372656d656e7412090a0576616c756510013a0c0880",
  "20108080800218c0cf244201794a05302e312e30500112090801120103202a2805122008ac021a160818120a6f766572",
  "6c6f616465641a0466756c6c20013203302e321a13080510021a0d0a016210011a06623a37303730220c0a0772657374",
  "61727410dc0b286431002023e5c3790300",
].join("");
