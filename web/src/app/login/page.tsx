import type { Metadata } from "next";
import { Suspense } from "react";
import { LoginPage } from "@/components/login/LoginPage";

export const metadata: Metadata = { title: "Log in · GoHub" };

export default function Page() {
  return (
    <Suspense>
      <LoginPage />
    </Suspense>
  );
}
