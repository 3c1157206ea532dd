import js from "@eslint/js";
import next from "@next/eslint-plugin-next";
import hooks from "eslint-plugin-react-hooks";
import { defineConfig, globalIgnores } from "eslint/config";
import ts from "typescript-eslint";

const nodeGlobals = { console: "readonly", process: "readonly", URL: "readonly", setTimeout: "readonly" };

export default defineConfig([
  globalIgnores([".next/", "out/", "src/gen/", "next-env.d.ts"]),
  js.configs.recommended,
  ts.configs.strict,
  ts.configs.stylistic,
  hooks.configs.flat["recommended-latest"],
  {
    plugins: { "@next/next": next },
    rules: {
      ...next.configs.recommended.rules,
      ...next.configs["core-web-vitals"].rules,
      // theme.js must run before the first paint, so it blocks on purpose.
      "@next/next/no-sync-scripts": "off",
    },
  },
  {
    rules: {
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/consistent-type-definitions": ["error", "type"],
      "@typescript-eslint/no-non-null-assertion": "error",
      "react-hooks/exhaustive-deps": "error",
      eqeqeq: "error",
      "no-console": "error",
    },
  },
  {
    files: ["scripts/**", "e2e/**", "*.mjs"],
    languageOptions: { globals: nodeGlobals },
    rules: { "no-console": "off" },
  },
  {
    // Parts of these scripts run in the page.
    files: ["e2e/**"],
    languageOptions: { globals: { document: "readonly" } },
    rules: { "@typescript-eslint/no-empty-function": "off" },
  },
  {
    files: ["public/**"],
    languageOptions: { sourceType: "script", globals: { document: "readonly", localStorage: "readonly", matchMedia: "readonly" } },
  },
]);
