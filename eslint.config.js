import tseslint from 'typescript-eslint'

// Packages that one file only may use, and that file.
const OWNERS = {
  yargs: 'usage',
  'yargs-parser': 'command-line',
  chalk: 'report',
  ora: 'spinner',
  tldts: 'public-suffix',
  'p-limit': 'run',
  'smol-toml': 'config',
  'fastest-levenshtein': 'nearest',
  '@mongodb-js/saslprep': 'smtp/saslprep',
}

// The floors of src, from the ground up. A room imports from the floors below its own; types may come from anywhere.
const FLOORS = [
  [
    'printable',
    'ip',
    'outcome',
    'nearest',
    'pace',
    'public-suffix',
    'smtp/mechanisms',
    'smtp/policy',
    'smtp/saslprep',
    'spinner',
    'thrown',
  ],
  ['deadline', 'files', 'hints', 'names', 'secrets', 'smtp/alert', 'smtp/certificate', 'smtp/extensions', 'smtp/reply'],
  ['dns', 'password', 'pause', 'servers'],
  ['smtp/connect', 'smtp/connection', 'values', 'smtp/tls', 'smtp/auth'],
  ['smtp/session', 'local', 'options'],
  ['mx', 'ledger', 'progress', 'way-back'],
  ['exchange', 'check-steps', 'command-line', 'config'],
  ['check', 'usage'],
  ['places'],
  ['hook'],
  ['persist'],
  ['run'],
  ['json', 'report', 'trust'],
  ['requests', 'check-report'],
  ['cli', 'index'],
]

const restrict = (room, floor) => ({
  files: [`src/${room}.ts`],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        paths: Object.entries(OWNERS)
          .filter(([, owner]) => owner !== room)
          .map(([name, owner]) => ({ name, message: `only ${owner} uses it`, allowTypeImports: true })),
        patterns: FLOORS.slice(floor)
          .flat()
          .map((other) => ({
            group: [`**/${other.replace('smtp/', '')}.js`],
            message: 'imports go down only',
            allowTypeImports: true,
          })),
      },
    ],
  },
})

export default tseslint.config(
  { ignores: ['dist/', 'coverage/'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: { allowDefaultProject: ['eslint.config.js'] } } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'no-control-regex': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
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
  ...FLOORS.flatMap((rooms, floor) => rooms.map((room) => restrict(room, floor))),
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
