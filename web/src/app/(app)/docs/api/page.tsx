import type { Metadata } from "next";
import { ApiPage } from "@/components/docs/ApiPage";

export const metadata: Metadata = { title: "API · GoHub" };

export default function Page() {
  return <ApiPage />;
}
