import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "engine",
          environment: "node",
          include: ["tests/**/*.test.ts"],
          exclude: ["tests/page/**"],
        },
      },
      {
        test: {
          name: "page",
          environment: "happy-dom",
          include: ["tests/page/**/*.test.{ts,tsx}"],
        },
      },
    ],
  },
});
