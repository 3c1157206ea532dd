"use client";
import { useQueryClient } from "@tanstack/react-query";
import { postJson } from "@/api/client";
import { Icon } from "@/components/ui/Icon";
import { IconButton } from "@/components/ui/IconButton";
import { sessionKey, useSession } from "@/queries/useSession";

/** Absent where the server asks for no password. */
export function LogoutButton() {
  const session = useSession();
  const queries = useQueryClient();
  if (!session.data?.authRequired) return null;
  const logOut = async () => {
    await postJson("/api/v1/logout", {}).catch(() => undefined);
    // What the session could see must not outlive it; asking again tells whether it is really over.
    queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== sessionKey[0] });
    await queries.invalidateQueries({ queryKey: sessionKey });
  };
  return (
    <IconButton label="Log out" onClick={() => void logOut()}>
      <Icon name="exit" size={18} />
    </IconButton>
  );
}
