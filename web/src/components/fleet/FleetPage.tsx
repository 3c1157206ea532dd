"use client";
import { useSearchParams } from "next/navigation";
import { useMemo } from "react";
import { EmptyFleet } from "@/components/fleet/EmptyFleet";
import { FleetTable } from "@/components/fleet/FleetTable";
import { FleetToolbar } from "@/components/fleet/FleetToolbar";
import { useFleet } from "@/components/fleet/useFleet";
import { Notice } from "@/components/ui/Notice";
import { fleetViewParams, parseFleetView, type FleetView } from "@/lib/fleet";
import { useSetParams } from "@/lib/useUrlState";
import { useFleetTopic } from "@/live/useTopic";
import styles from "./FleetPage.module.css";

export function FleetPage() {
  useFleetTopic();
  const params = useSearchParams();
  const setParams = useSetParams();
  const view = useMemo(() => parseFleetView(params), [params]);
  const fleet = useFleet(view);
  const change = (next: Partial<FleetView>) => {
    setParams(fleetViewParams({ ...view, ...next }), "replace");
  };

  if (!fleet.loaded) return <p className={styles.wait}>Waiting for the first values…</p>;
  if (fleet.counts.all === 0) return <EmptyFleet />;
  return (
    <>
      <h1 className="srOnly">Hosts</h1>
      <FleetToolbar view={view} counts={fleet.counts} shown={fleet.ids.length} onChange={change} />
      {fleet.ids.length === 0 ? (
        <Notice title={fleet.problem === null ? "No host matches" : "The filter can not be read"}>{fleet.problem ?? `Change the text or the status to see more of the ${fleet.counts.all} hosts.`}</Notice>
      ) : (
        <FleetTable ids={fleet.ids} firing={fleet.firing} view={view} onChange={change} />
      )}
    </>
  );
}
