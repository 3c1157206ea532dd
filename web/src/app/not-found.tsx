import Link from "next/link";
import { AppShell } from "@/components/shell/AppShell";
import { Notice } from "@/components/ui/Notice";

export default function NotFound() {
  return (
    <AppShell>
      <Notice title="There is no such page">
        The address may be mistyped. <Link href="/">All hosts</Link>
      </Notice>
    </AppShell>
  );
}
