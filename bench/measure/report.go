package measure

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"
)

// Target is a bound that a figure must keep.
type Target struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Op is ">=" or "<=".
	Op    string  `json:"op"`
	Bound float64 `json:"bound"`
	Pass  bool    `json:"pass"`
}

// String is the line that scripts look for.
func (t Target) String() string {
	return fmt.Sprintf("target %s %.4g %s %g %s", t.Name, t.Value, t.Op, t.Bound, t.verdict())
}

func (t Target) verdict() string {
	if t.Pass {
		return "pass"
	}
	return "miss"
}

// Table is a part of a report for people.
type Table struct {
	Title   string     `json:"title"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
	// Notes say what a reader must know to judge the figures.
	Notes []string `json:"notes,omitempty"`
}

// Print writes the table, its columns aligned.
func (t Table) Print(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n", t.Title)
	aligned := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{t.Columns}, t.Rows...) {
		for _, cell := range row {
			fmt.Fprintf(aligned, "%s\t", cell)
		}
		fmt.Fprintln(aligned)
	}
	if err := aligned.Flush(); err != nil {
		return fmt.Errorf("print a table: %w", err)
	}
	for _, note := range t.Notes {
		fmt.Fprintln(w, "  "+note)
	}
	return nil
}

// Report is the outcome of one mode.
type Report struct {
	Mode string `json:"mode"`
	// Environment names the machine, the versions and the settings that the figures depend on.
	Environment map[string]string `json:"environment"`
	Tables      []Table           `json:"tables"`
	Targets     []Target          `json:"targets"`
	// Runs has every single measurement.
	Runs []any `json:"runs,omitempty"`
}

// Target adds a figure with its bound. A figure that could not be taken misses.
func (r *Report) Target(name string, value float64, op string, bound float64) {
	pass := value >= bound
	if op == "<=" {
		pass = value <= bound
	}
	r.Targets = append(r.Targets, Target{Name: name, Value: value, Op: op, Bound: bound, Pass: pass && !math.IsNaN(value)})
}

// Print writes the tables and the target lines.
func (r *Report) Print(w io.Writer) error {
	for _, table := range r.Tables {
		if err := table.Print(w); err != nil {
			return err
		}
	}
	fmt.Fprintln(w)
	for _, target := range r.Targets {
		if _, err := fmt.Fprintln(w, target); err != nil {
			return fmt.Errorf("print a target: %w", err)
		}
	}
	return nil
}

// Targets is one table of the targets of several reports.
func Targets(reports []*Report) Table {
	table := Table{Title: "All targets", Columns: []string{"mode", "figure", "value", "target", "verdict"}}
	for _, report := range reports {
		for _, target := range report.Targets {
			table.Rows = append(table.Rows, []string{
				report.Mode, target.Name, fmt.Sprintf("%.4g", target.Value), fmt.Sprintf("%s %g", target.Op, target.Bound), target.verdict(),
			})
		}
	}
	return table
}

// WriteJSON writes reports to a file.
func WriteJSON(path string, reports []*Report) error {
	for _, report := range reports {
		for i := range report.Targets {
			if math.IsNaN(report.Targets[i].Value) || math.IsInf(report.Targets[i].Value, 0) {
				report.Targets[i].Value = -1 // JSON has no NaN
			}
		}
	}
	text, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
