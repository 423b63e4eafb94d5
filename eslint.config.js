import tseslint from 'typescript-eslint'

// Packages that one file only may use, and that file.
const OWNERS = { yargs: 'src/options.ts', chalk: 'src/report.ts', ora: 'src/spinner.ts', tldts: 'src/public-suffix.ts' }
// Rooms of src from the bottom up: a room imports those before it. Types may come from anywhere.
const UPPER = ['cli', 'options', 'servers', 'run', 'report', 'json', 'spinner', 'hints']

const restrict = (files, rooms, packages) => ({
  files,
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        paths: packages.map((name) => ({ name, message: `only ${OWNERS[name]} uses it` })),
        patterns: rooms.map((room) => ({
          group: [`**/${room}.js`],
          message: 'imports go down only',
          allowTypeImports: true,
        })),
      },
    ],
  },
})
const others = (file) => Object.keys(OWNERS).filter((name) => OWNERS[name] !== file)

export default tseslint.config(
  { ignores: ['dist/', 'coverage/'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['eslint.config.js'] } } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'no-control-regex': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/consistent-type-definitions': 'off',
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
    },
  },
  { files: ['src/**/*.ts'], rules: { 'no-restricted-globals': ['error', 'process'] } },
  { files: ['src/cli.ts'], rules: { 'no-restricted-globals': 'off' } },
  restrict(['src/**/*.ts'], [], others('')),
  ...Object.values(OWNERS).map((file) => restrict([file], ['cli'], others(file))),
  restrict(['src/smtp/*.ts'], UPPER, others('')),
  restrict(
    ['src/outcome.ts', 'src/names.ts', 'src/printable.ts', 'src/deadline.ts', 'src/dns.ts'],
    [...UPPER, 'smtp/*'],
    others(''),
  ),
  restrict(['src/run.ts'], ['cli', 'options', 'report', 'json', 'spinner', 'hints'], others('')),
  // node:test's test() gives a promise that the runner itself awaits.
  {
    files: ['test/**'],
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', name: ['test', 'suite', 'it', 'describe'], package: 'node:test' },
          ],
        },
      ],
    },
  },
  { files: ['**/*.js'], extends: [tseslint.configs.disableTypeChecked] },
)
