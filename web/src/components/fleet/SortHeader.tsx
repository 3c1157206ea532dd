import { Icon } from "@/components/ui/Icon";
import styles from "./FleetTable.module.css";

export function SortHeader({
  label,
  end,
  sorted,
  onSort,
}: {
  label: string;
  end: boolean;
  sorted: "ascending" | "descending" | "none";
  onSort: () => void;
}) {
  return (
    <div role="columnheader" aria-sort={sorted} className={end ? styles.headEnd : styles.headCell}>
      <button type="button" className={styles.sortButton} onClick={onSort}>
        {label}
        <span className={styles.arrow} data-sorted={sorted}>
          <Icon name={sorted === "ascending" ? "up" : "down"} size={13} />
        </span>
      </button>
    </div>
  );
}
