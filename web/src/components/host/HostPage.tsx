"use client";
import Link from "next/link";
import { useRouter, useSearchParams } from "next/navigation";
import { useEffect, useMemo } from "react";
import { CloneNotice } from "@/components/host/CloneNotice";
import { HostAlerts } from "@/components/host/HostAlerts";
import { HostCharts } from "@/components/host/HostCharts";
import { HostHeader } from "@/components/host/HostHeader";
import { HostTiles } from "@/components/host/HostTiles";
import { FilesystemPanel } from "@/components/host/FilesystemPanel";
import { ProcessTable } from "@/components/host/ProcessTable";
import { QuarantinePanel } from "@/components/host/QuarantinePanel";
import { RangePicker } from "@/components/host/RangePicker";
import { useBounds } from "@/components/host/useBounds";
import { useOpenHost } from "@/components/host/useOpenHost";
import { Notice } from "@/components/ui/Notice";
import { messageOf } from "@/api/client";
import { hostname } from "@/lib/fleet";
import { serverNow } from "@/lib/clock";
import { parseTimeRange, timeRangeParams, zoomOut, zoomTo, type TimeRange } from "@/lib/timerange";
import { useSetParams } from "@/lib/useUrlState";
import styles from "./HostPage.module.css";

const validId = /^[1-9]\d{0,9}$/;

export function HostPage() {
  const id = useSearchParams().get("id") ?? "";
  if (!validId.test(id)) return <NoSuchHost />;
  return <OpenHost key={id} hostId={Number(id)} />;
}

function NoSuchHost() {
  return (
    <Notice title="There is no such host">
      It may have been removed, or the address is mistyped. <Link href="/">All hosts</Link>
    </Notice>
  );
}

function OpenHost({ hostId }: { hostId: number }) {
  const params = useSearchParams();
  const setParams = useSetParams();
  const router = useRouter();
  const range = useMemo(() => parseTimeRange(params), [params]);
  const bounds = useBounds(range);
  const { host, missing, error } = useOpenHost(hostId);

  const name = host ? hostname(host) : null;
  useEffect(() => {
    if (name !== null) document.title = `${name} · GoHub`;
  }, [name]);

  if (missing) return <NoSuchHost />;
  if (!host) {
    return error ? (
      <Notice title="The host can not be shown" tone="error">
        {messageOf(error)}
      </Notice>
    ) : (
      <p className={styles.wait}>Waiting for the host&rsquo;s values…</p>
    );
  }
  const show = (next: TimeRange) => {
    setParams(timeRangeParams(next), "push");
  };
  return (
    <>
      <HostHeader host={host} onBack={() => { router.push("/"); }} />
      <CloneNotice host={host} />
      <HostAlerts hostId={hostId} />
      <HostTiles host={host} />
      <RangePicker
        range={range}
        bounds={bounds}
        onChange={show}
        onZoomOut={() => {
          show(zoomOut(bounds, serverNow()));
        }}
      />
      <HostCharts
        host={host}
        hostId={hostId}
        range={range}
        bounds={bounds}
        onZoom={(from, to) => {
          show(zoomTo(from, to));
        }}
        onReset={() => {
          show(zoomOut(bounds, serverNow()));
        }}
      />
      <div className={styles.panels}>
        <FilesystemPanel host={host} />
        <ProcessTable host={host} />
        <QuarantinePanel hostId={hostId} />
      </div>
    </>
  );
}
