"use client";
import { Icon, type IconName } from "@/components/ui/Icon";
import { IconButton } from "@/components/ui/IconButton";
import { chooseTheme, type ThemeChoice } from "@/lib/theme";
import { useThemeChoice } from "@/components/shell/useTheme";

const themes: Record<ThemeChoice, { icon: IconName; label: string; next: ThemeChoice }> = {
  system: { icon: "screen", label: "Theme: as the system", next: "light" },
  light: { icon: "sun", label: "Theme: light", next: "dark" },
  dark: { icon: "moon", label: "Theme: dark", next: "system" },
};

export function ThemeSwitch() {
  const theme = themes[useThemeChoice()];
  return (
    <IconButton
      label={`${theme.label}. Change.`}
      onClick={() => {
        chooseTheme(theme.next);
      }}
    >
      <Icon name={theme.icon} size={18} />
    </IconButton>
  );
}
