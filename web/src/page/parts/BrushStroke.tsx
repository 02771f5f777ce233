/** Bristles: how far each lies from the brush's middle, how thick it is, how dry, how early it lifts. */
const bristles = [
  { shift: -5.5, width: 2.2, ink: 0.5, lift: 0.09 },
  { shift: -3, width: 4, ink: 0.8, lift: 0.03 },
  { shift: 0, width: 6, ink: 0.92, lift: 0 },
  { shift: 3, width: 4.4, ink: 0.85, lift: 0.02 },
  { shift: 5.6, width: 2.6, ink: 0.6, lift: 0.06 },
  { shift: 7.6, width: 1.2, ink: 0.4, lift: 0.13 },
];

/** A brush stroke that grows as the model arrives. */
export function BrushStroke({ fraction }: { fraction: number }) {
  return (
    <svg className="stroke" viewBox="0 0 240 100" aria-hidden="true">
      {bristles.map(({ shift, width, ink, lift }) => (
        <path
          key={shift}
          d={pathAt(shift)}
          pathLength="1"
          strokeWidth={width}
          strokeOpacity={ink}
          strokeDashoffset={1.05 - Math.max(0, fraction - lift) * 1.05}
        />
      ))}
    </svg>
  );
}

/** One flowing line; the bristles fan out towards its end. */
function pathAt(shift: number): string {
  const y = (value: number, spread = 1) => value + shift * spread;
  return `M22 ${y(72, 0.6)}C44 ${y(32)} 74 ${y(20)} 98 ${y(44)}S144 ${y(84, 1.1)} 170 ${y(58, 1.2)} 204 ${y(30, 1.1)} 222 ${y(44, 1.4)}`;
}
