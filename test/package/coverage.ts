import { fileURLToPath } from 'node:url'
import { CoverageReport } from 'monocart-coverage-reports'
import { ROOT } from '../helpers/files.js'

// What the tests ran of src: in their own process, by tsx, and in the commands that they started, by the bundle's source maps. Run
// after them by `npm run coverage`, which has node write down what ran.

const root = fileURLToPath(ROOT)
/** Those of the bundle's files that hold more of ours than of any package */
const isOurs = (url: string): boolean => /^(?:src\/[^?]*|dist\/(?:cli|index|usage|spinner)\.c?js)$/.test(url)

const report = new CoverageReport({
  name: 'etrn',
  logging: 'error',
  outputDir: `${root}coverage`,
  cleanCache: true,
  reports: [['console-details', { metrics: ['lines', 'branches', 'functions'] }]],
  entryFilter: ({ url }: { readonly url: string }) => isOurs(url.replace(`file://${root}`, '')),
  // A package may have been built of a src/ of its own.
  sourcePath: (path: string) => (path.includes('node_modules') ? path : path.replace(/^.*?(?=src\/)/, '')),
  sourceFilter: (path: string) => /^src\/[^?]+\.ts$/.test(path),
})
await report.addFromDir(`${root}coverage/raw`)
await report.generate()
