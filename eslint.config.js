import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { PURE_FOLDERS, importDirections } from './scripts/lint/import-directions.mjs';

/** The core rules that tsc and typescript-eslint do not cover. */
const CORE_RULES = [
  'eqeqeq',
  'no-case-declarations',
  'no-cond-assign',
  'no-console',
  'no-constant-binary-expression',
  'no-debugger',
  'no-dupe-else-if',
  'no-duplicate-case',
  'no-empty',
  'no-empty-pattern',
  'no-fallthrough',
  'no-global-assign',
  'no-irregular-whitespace',
  'no-loss-of-precision',
  'no-misleading-character-class',
  'no-prototype-builtins',
  'no-regex-spaces',
  'no-self-assign',
  'no-sparse-arrays',
  'no-unassigned-vars',
  'no-unreachable',
  'no-unsafe-finally',
  'no-unsafe-optional-chaining',
  'no-unused-labels',
  'no-useless-backreference',
  'no-useless-catch',
  'no-useless-escape',
  'object-shorthand',
  'prefer-const',
  'prefer-template',
  'use-isnan',
  'valid-typeof',
];

const IMPURE_GLOBALS = [
  'Date',
  'Intl',
  'Promise',
  'console',
  'crypto',
  'fetch',
  'performance',
  'process',
  'queueMicrotask',
  'setImmediate',
  'setInterval',
  'setTimeout',
];

const pure = 'a pure folder has no clock, socket, disk, randomness, promise or timer (design section 2)';

export default defineConfig(
  { ignores: ['dist/**', 'node_modules/**', 'src/wire/tidemark/**', '.tidemark-*/**', 'coverage/**'] },
  { rules: Object.fromEntries(CORE_RULES.map((name) => [name, 'error'])) },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { project: './tsconfig.test.json', tsconfigRootDir: import.meta.dirname },
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: true },
      ],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingUnknown: true }],
      // A function is async also to turn a synchronous throw into a rejection, or because an interface says
      // so.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { tidemark: { rules: { 'import-directions': importDirections } } },
    rules: { 'tidemark/import-directions': 'error' },
  },
  {
    files: PURE_FOLDERS.map((folder) => `src/${folder}/**/*.ts`),
    rules: {
      'no-restricted-globals': ['error', ...IMPURE_GLOBALS.map((name) => ({ name, message: pure }))],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random', message: pure }],
      'no-restricted-syntax': [
        'error',
        { selector: ':function[async=true]', message: pure },
        { selector: 'AwaitExpression', message: pure },
      ],
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: 'base/index\\.ts$', importNames: ['sleep', 'systemClock'], message: pure }] },
      ],
    },
  },
  {
    files: ['test/**/*.ts', 'bench/**/*.ts', 'jepsen-style-tests/**/*.ts'],
    rules: {
      // Matchers of the test runner are typed as `any`.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: { process: 'readonly', console: 'readonly', setTimeout: 'readonly', URL: 'readonly' },
    },
  },
);
