// A worker that computes the SHA-256 of a file in pieces, because crypto.subtle needs the whole file in memory.
"use strict";

const PIECE_BYTES = 1 << 20;

onmessage = async ({ data: { library, file } }) => {
  try {
    importScripts(library);
    const hash = SHA256.createHash();
    for (let done = 0; done < file.size; done += PIECE_BYTES) {
      postMessage({ done });
      hash.update(new Uint8Array(await file.slice(done, done + PIECE_BYTES).arrayBuffer()));
    }
    postMessage({ sha256: hash.digest("hex") });
  } catch (error) {
    postMessage({ failed: error.message });
  }
};
