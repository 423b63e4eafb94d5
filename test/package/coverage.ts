import { fileURLToPath } from 'node:url'
import { CoverageReport } from 'monocart-coverage-reports'
import { ROOT } from '../helpers/files.js'

// Prints the coverage of src by the tests, as `npm run coverage` does after it ran the tests with NODE_V8_COVERAGE. The source maps
// of the translated tests, of tsx and of the bundle assign the code of the tests' processes and of the spawned commands to src.

const root = fileURLToPath(ROOT)
/** Returns true for a file of our source, and for a bundle, whose packages sourceFilter leaves out. */
const isOurs = (url: string): boolean => /^(?:(?:build\/)?src\/[^?]*|dist\/[^?]+\.c?js)$/.test(url)

const report = new CoverageReport({
  name: 'etrn',
  logging: 'error',
  outputDir: `${root}coverage`,
  cleanCache: true,
  reports: [['console-details', { metrics: ['lines', 'branches', 'functions'] }]],
  entryFilter: ({ url }: { readonly url: string }) => isOurs(url.replace(`file://${root}`, '')),
  // A package may have a src folder, too.
  sourcePath: (path: string) => (path.includes('node_modules') ? path : path.replace(/^.*?(?=src\/)/, '')),
  sourceFilter: (path: string) => /^src\/[^?]+\.ts$/.test(path),
})
await report.addFromDir(`${root}coverage/raw`)
await report.generate()
