"use client";
import Link from "next/link";
import { usePathname } from "next/navigation";
import { AlertBadge } from "@/components/alerts/AlertBadge";
import { LivePill } from "@/components/shell/LivePill";
import { LogoutButton } from "@/components/shell/LogoutButton";
import { ThemeSwitch } from "@/components/shell/ThemeSwitch";
import { Icon } from "@/components/ui/Icon";
import { Mark } from "@/components/ui/Mark";
import styles from "./Header.module.css";

const links = [
  { href: "/", label: "Hosts", icon: "hosts", covers: ["/", "/host/"] },
  { href: "/alerts/", label: "Alerts", icon: "bell", covers: ["/alerts/"] },
  { href: "/storage/", label: "Storage", icon: "database", covers: ["/storage/"] },
  { href: "/docs/api/", label: "API", icon: "book", covers: ["/docs/api/"] },
] as const;

export function Header() {
  const path = usePathname();
  return (
    <header className={styles.header}>
      <div className={styles.inner}>
        <Link href="/" className={styles.brand} prefetch={false} aria-label="GoHub, all hosts">
          <Mark size={22} />
          <span className={styles.name}>GoHub</span>
        </Link>
        <nav className={styles.nav} aria-label="Main">
          {links.map(({ href, label, icon, covers }) => (
            <Link key={href} href={href} className={styles.link} prefetch={false} aria-current={covers.some((covered) => covered === path) ? "page" : undefined}>
              <Icon name={icon} />
              <span className={styles.label}>{label}</span>
              {href === "/alerts/" ? <AlertBadge /> : null}
            </Link>
          ))}
        </nav>
        <div className={styles.tools}>
          <LivePill />
          <ThemeSwitch />
          <LogoutButton />
        </div>
      </div>
    </header>
  );
}
