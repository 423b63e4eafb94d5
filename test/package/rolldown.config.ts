import { type OutputOptions, type Plugin, type RolldownOptions } from 'rolldown'

const common = {
  platform: 'node',
  transform: { target: 'node20' },
  // yargs, from which the full help is made, extends configurations that etrn doesn't have.
  checks: { emptyImportMeta: false },
} as const satisfies RolldownOptions

const output = { dir: 'dist', sourcemap: true, minify: false } as const satisfies OutputOptions

/**
 * Gives yargs, and the packages that it finds files with, a file system without files. In a bundle they would look for package.json in the
 * working directory and above it, and for a list of translations beside the package, where other users may have put one.
 */
const withoutFiles: Plugin = {
  name: 'without-files',
  resolveId: (source, importer = '') =>
    /^(?:node:)?fs$/.test(source) && /\/node_modules\/(?:yargs|y18n|escalade)\//.test(importer) ? NO_FILES : null,
  load: (id) => (id === NO_FILES ? NO_FILES_SOURCE : null),
}
const NO_FILES = '\0no-files'
const NO_FILES_SOURCE = `
const fail = () => { throw Object.assign(new Error('no such file'), { code: 'ENOENT' }) }
export { fail as readFileSync, fail as readdirSync, fail as statSync, fail as writeFile }`

/** The bundle that `import 'etrn'` loads */
const library = {
  ...common,
  input: { index: 'src/index.ts' },
  output: { ...output, format: 'esm', chunkFileNames: '[name].js' },
} as const satisfies RolldownOptions

/**
 * The bundle that bin/etrn runs: CommonJS, because Node takes longer to start its loader for ES modules. A module that is loaded late has a
 * file of its own, so that a run reads only what it needs.
 */
const command = {
  ...common,
  input: { cli: 'src/cli.ts' },
  plugins: [withoutFiles],
  // The same parser without its parts for files and environment, which etrn doesn't use, and which take time at the start.
  resolve: { alias: { 'yargs-parser': 'yargs-parser/browser' } },
  output: {
    ...output,
    format: 'cjs',
    entryFileNames: '[name].cjs',
    chunkFileNames: '[name].cjs',
    // Each of these modules takes along all that it imports, unless one above has taken that: every file takes time to open.
    codeSplitting: {
      groups: [
        { name: 'cli', test: /src\/cli\.ts$/, priority: 3 },
        { name: 'arguments', test: /src\/command\/arguments\.ts$/, priority: 2 },
        { name: 'run', test: /src\/run-requests\.ts$/, priority: 1 },
        { name: 'words', test: /src\/command\/words\.ts$/, priority: 1 },
      ],
    },
  },
} as const satisfies RolldownOptions

export default [library, command]
