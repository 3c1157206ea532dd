"use client";
import { useRouter, useSearchParams } from "next/navigation";
import { useEffect } from "react";
import { LoginForm } from "@/components/login/LoginForm";
import { Mark } from "@/components/ui/Mark";
import { safeNext } from "@/lib/next";
import { mustLogIn, useSession } from "@/queries/useSession";
import styles from "./LoginPage.module.css";

export function LoginPage() {
  const router = useRouter();
  const next = safeNext(useSearchParams().get("next"));
  const session = useSession();
  const inside = session.data !== undefined && !mustLogIn(session.data);

  useEffect(() => {
    if (inside) router.replace(next);
  }, [inside, next, router]);

  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <div className={styles.brand}>
          <Mark size={32} />
          <h1 className={styles.name}>GoHub</h1>
        </div>
        <p className={styles.lead}>Log in to see your hosts.</p>
        <LoginForm />
      </div>
    </main>
  );
}
