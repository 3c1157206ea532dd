"use client";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useRef, type FormEvent } from "react";
import { ApiError, messageOf, postJson } from "@/api/client";
import { sessionKey } from "@/queries/useSession";
import styles from "./LoginPage.module.css";

function explain(error: Error): string {
  if (error instanceof ApiError && error.status === 429) return "Too many tries. Wait a minute, then try again.";
  return messageOf(error);
}

export function LoginForm() {
  const queries = useQueryClient();
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  const login = useMutation({
    mutationFn: (password: string) => postJson("/api/v1/login", { password }),
    onSuccess: () => queries.invalidateQueries({ queryKey: sessionKey }),
    onError: () => {
      field.current?.select();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    login.mutate(field.current?.value ?? "");
  };
  return (
    <form className={styles.form} onSubmit={submit}>
      <label htmlFor={id} className={styles.label}>
        Password
      </label>
      <input
        ref={field}
        id={id}
        className={styles.input}
        type="password"
        name="password"
        autoComplete="current-password"
        autoFocus
        required
        aria-invalid={login.isError}
        aria-describedby={login.isError ? `${id}-error` : undefined}
      />
      {login.isError ? (
        <p id={`${id}-error`} className={styles.error} role="alert">
          {explain(login.error)}
        </p>
      ) : null}
      <button type="submit" className={styles.button} disabled={login.isPending}>
        {login.isPending ? "Logging in…" : "Log in"}
      </button>
    </form>
  );
}
