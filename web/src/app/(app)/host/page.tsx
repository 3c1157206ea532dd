import type { Metadata } from "next";
import { Suspense } from "react";
import { HostPage } from "@/components/host/HostPage";

export const metadata: Metadata = { title: "Host · GoHub" };

export default function Page() {
  return (
    <Suspense>
      <HostPage />
    </Suspense>
  );
}
