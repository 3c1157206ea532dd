/** The product's mark: a hub and its spokes. */
export function Mark({ size }: { size: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <g fill="none" stroke="currentColor" strokeWidth="2.4" strokeLinecap="round" opacity="0.55">
        <path d="M16 16 7.5 8.5M16 16l10-4M16 16l-3.4 10" />
      </g>
      <circle cx="16" cy="16" r="5" fill="var(--accent)" />
      <g fill="currentColor">
        <circle cx="7" cy="8" r="2.8" />
        <circle cx="26.4" cy="11.8" r="2.8" />
        <circle cx="12.4" cy="26.4" r="2.8" />
      </g>
    </svg>
  );
}
