// Package deploy holds no code: only what runs GoHub, and this test of what it says about GoHub.
package deploy

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gohub-io/gohub/live"
)

var metricName = regexp.MustCompile(`\bgohub_[a-z0-9_]+\b`)

func TestDashboardsAskForMetricsThatExist(t *testing.T) {
	exported := exportedNames()
	files, err := filepath.Glob("grafana/dashboards/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var dashboard any
		require.NoError(t, json.Unmarshal(text, &dashboard), file)
		queries := expressions(dashboard)
		require.NotEmpty(t, queries, file)
		for _, query := range queries {
			for _, name := range metricName.FindAllString(query, -1) {
				require.True(t, exported[name], "%s asks for %s, which the server does not export: %s", file, name, query)
			}
		}
	}
}

// exportedNames are the names of all series of hosts that /metrics can hold.
func exportedNames() map[string]bool {
	names := map[string]bool{}
	for _, name := range live.NewExposition(live.NewState(time.Now), live.ExpositionOptions{}).Names() {
		names[name] = true
	}
	return names
}

// expressions collects the queries of panels (expr) and variables (definition), wherever they stand.
func expressions(node any) []string {
	var found []string
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			if query, ok := value.(string); ok && (key == "expr" || key == "definition") {
				found = append(found, query)
			}
			found = append(found, expressions(value)...)
		}
	case []any:
		for _, value := range node {
			found = append(found, expressions(value)...)
		}
	}
	return found
}
