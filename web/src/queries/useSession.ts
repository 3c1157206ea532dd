"use client";
import { useQuery, type UseQueryResult } from "@tanstack/react-query";
import { getJson } from "@/api/client";

export type Session = {
  authRequired: boolean;
  authenticated: boolean;
  user?: string;
};

export const sessionKey = ["session"] as const;

const RETRY_MILLIS = 5_000;

export function mustLogIn(session: Session): boolean {
  return session.authRequired && !session.authenticated;
}

export function useSession(): UseQueryResult<Session> {
  return useQuery({
    queryKey: sessionKey,
    queryFn: ({ signal }) => getJson<Session>("/api/v1/session", signal),
    staleTime: 60_000,
    // A server that was away is noticed by itself when it is back.
    refetchInterval: (query) => (query.state.status === "error" ? RETRY_MILLIS : false),
  });
}
