import type { NextConfig } from "next";

// `next dev` has no GoHub server behind it, so it passes the API on to one that runs beside it.
const server = process.env.GOHUB_DEV_SERVER ?? "http://127.0.0.1:7700";

const config: NextConfig = {
  // Every page is a folder with an index.html, which any static file server resolves.
  trailingSlash: true,
  reactStrictMode: true,
  poweredByHeader: false,
  devIndicators: false,
  ...(process.env.NODE_ENV === "development"
    ? { rewrites: async () => [{ source: "/api/:path*", destination: `${server}/api/:path*` }] }
    : { output: "export" as const }),
};

export default config;
