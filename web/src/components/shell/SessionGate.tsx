"use client";
import { usePathname, useRouter } from "next/navigation";
import { useEffect, type ReactNode } from "react";
import { ApiError } from "@/api/client";
import { ConnectingScreen } from "@/components/shell/ConnectingScreen";
import { mustLogIn, useSession } from "@/queries/useSession";

/** Shows its children to those who may see them, and the log-in page to the rest. */
export function SessionGate({ children }: { children: ReactNode }) {
  const session = useSession();
  const router = useRouter();
  const path = usePathname();
  const loggedOut =
    session.data !== undefined
      ? mustLogIn(session.data)
      : session.error instanceof ApiError && session.error.status === 401;

  useEffect(() => {
    if (!loggedOut) return;
    const back = `${path}${window.location.search}`;
    router.replace(back === "/" ? "/login/" : `/login/?next=${encodeURIComponent(back)}`);
  }, [loggedOut, path, router]);

  if (session.data !== undefined && !loggedOut) return children;
  return <ConnectingScreen error={loggedOut ? null : session.error} onRetry={() => void session.refetch()} />;
}
