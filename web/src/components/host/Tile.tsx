import { Meter } from "@/components/ui/Meter";
import styles from "./HostTiles.module.css";

export function Tile({ name, value, detail, percent }: { name: string; value: string; detail?: string; percent?: number | undefined }) {
  return (
    <div className={styles.tile}>
      <h2 className={styles.name}>{name}</h2>
      <p className={styles.value}>{value}</p>
      {percent === undefined ? null : <Meter percent={percent} />}
      {detail === undefined ? null : <p className={styles.detail}>{detail}</p>}
    </div>
  );
}
