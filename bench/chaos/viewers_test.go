package chaos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gohub-io/gohub/bench/oracle"
	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// TestViewersSeeWhatIsOld: viewers that are shown something old as if it were new must say so, or a run proves nothing.
func TestViewersSeeWhatIsOld(t *testing.T) {
	const unknown, up = gohubv1.HostStatus_HOST_STATUS_UNSPECIFIED, gohubv1.HostStatus_HOST_STATUS_UP
	plan := oracle.Plan{Base: 1_700_000_000_000, Step: 200}
	begin := time.Unix(1_700_000_000, 0)
	type told struct {
		viewer int
		status gohubv1.HostStatus
		tick   int
		after  time.Duration
	}
	for name, test := range map[string]struct {
		told  []told
		wrong string
	}{
		"both see the newest":  {told: []told{{0, up, 5, 0}, {1, up, 5, 0}, {0, up, 6, time.Second}, {1, up, 6, 2 * time.Second}}},
		"one hangs behind":     {told: []told{{0, up, 5, 0}, {1, up, 5, 0}, {0, up, 6, time.Second}}, wrong: "agent 0 is up with tick 5 at server 1, though tick 6 was seen 1m0s ago"},
		"one does not know":    {told: []told{{0, up, 5, 0}, {1, up, 5, 0}, {0, up, 6, time.Second}, {1, unknown, 5, 4 * time.Second}}},
		"old as new, healed":   {told: []told{{0, up, 6, 0}, {1, unknown, 5, 0}, {0, up, 7, time.Second}, {1, up, 5, 2 * time.Second}}, wrong: "agent 0 is up with tick 5"},
		"nobody knows better":  {told: []told{{0, up, 5, 0}, {1, up, 5, 0}}},
		"it goes back in time": {told: []told{{0, up, 6, 0}, {0, up, 5, time.Second}, {0, up, 7, time.Second}}, wrong: "agent 0 went back from tick 6 to 5"},
	} {
		t.Run(name, func(t *testing.T) {
			v := &viewers{plan: &plan, agents: map[string]int{plan.AgentID(0): 0}, all: []*viewer{{}, {}}, seen: make([][]seenTick, 1)}
			for _, one := range test.told {
				v.show(v.all[one.viewer], &gohubv1.Host{
					AgentId: plan.AgentID(0), Status: one.status, Latest: &gohubv1.Reading{Time: timestamppb.New(time.UnixMilli(plan.Time(one.tick)))},
				}, begin.Add(one.after))
			}
			v.judge(begin.Add(61 * time.Second))
			if test.wrong == "" {
				require.NoError(t, v.wrong)
			} else {
				require.ErrorContains(t, v.wrong, test.wrong)
			}
		})
	}
}
