import { Suspense } from "react";
import type { Metadata } from "next";
import { FleetPage } from "@/components/fleet/FleetPage";

export const metadata: Metadata = { title: "Hosts · GoHub" };

export default function Page() {
  return (
    <Suspense>
      <FleetPage />
    </Suspense>
  );
}
