"use client";
import type { ReactNode } from "react";
import { AlertToasts } from "@/components/alerts/AlertToasts";
import { Header } from "@/components/shell/Header";
import { SessionGate } from "@/components/shell/SessionGate";
import { StaleBanner } from "@/components/shell/StaleBanner";
import { LiveProvider } from "@/live/LiveProvider";
import { useLiveState } from "@/live/useLiveState";
import styles from "./AppShell.module.css";

function Content({ children }: { children: ReactNode }) {
  const { state } = useLiveState();
  return (
    <main id="content" className={styles.main} data-live={state} tabIndex={-1}>
      {children}
    </main>
  );
}

/** Frame of every page but the log-in. */
export function AppShell({ children }: { children: ReactNode }) {
  return (
    <SessionGate>
      <LiveProvider>
        <a className={styles.skip} href="#content">
          Skip to content
        </a>
        <Header />
        <StaleBanner />
        <Content>{children}</Content>
        <AlertToasts />
      </LiveProvider>
    </SessionGate>
  );
}
