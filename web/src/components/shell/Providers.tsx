"use client";
import { QueryCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { ApiError } from "@/api/client";
import { sessionKey, type Session } from "@/queries/useSession";

const RETRIES = 2;

function createClient(): QueryClient {
  const client: QueryClient = new QueryClient({
    queryCache: new QueryCache({
      onError: (error) => {
        // Whatever was asked for, a 401 says that the session is over; the session gate does the rest.
        if (!(error instanceof ApiError) || error.status !== 401) return;
        client.setQueryData<Session>(sessionKey, { authRequired: true, authenticated: false });
      },
    }),
    defaultOptions: {
      queries: {
        // A client error stays one; everything else may pass.
        retry: (count, error) => count < RETRIES && !(error instanceof ApiError && error.status >= 400 && error.status < 500),
      },
    },
  });
  return client;
}

export function Providers({ children }: { children: ReactNode }) {
  const [client] = useState(createClient);
  return <QueryClientProvider client={client}>{children}</QueryClientProvider>;
}
