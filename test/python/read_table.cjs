// Prints columns of a table as JSON: node read_table.cjs PATH COLUMN…
const { tableRows } = require("../../dist/src/runtime/data/prepare/data-table.js");

const [path, ...columns] = process.argv.slice(2);

async function main() {
  const rows = columns.map(() => []);
  for await (const piece of tableRows(path, columns))
    for (const [index, values] of piece.columns.entries()) rows[index].push(...values);
  process.stdout.write(JSON.stringify(rows));
}

main().catch((error) => {
  process.stderr.write(`${error.code}: ${error.message}`);
  process.exitCode = 1;
});
