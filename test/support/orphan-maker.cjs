// A coordinator that starts workers, tells who they are, and waits to be killed.
const { openHostPool } = require("../../dist/src/runtime/coordinator/host-pool.js");
void openHostPool(2, 1).then((pool) => process.send(pool.pids));
setInterval(() => {}, 1000);
