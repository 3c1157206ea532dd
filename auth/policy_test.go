package auth

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
)

// TestPolicyCoversEveryMethod fails where a method of the contract has no entry, and where an entry has no method.
func TestPolicyCoversEveryMethod(t *testing.T) {
	files := []protoreflect.FileDescriptor{
		grpc_health_v1.File_grpc_health_v1_health_proto,
		reflectionv1.File_grpc_reflection_v1_reflection_proto,
		reflectionv1alpha.File_grpc_reflection_v1alpha_reflection_proto,
	}
	contract := 0
	protoregistry.GlobalFiles.RangeFilesByPackage(gohubv1.File_gohub_v1_ingest_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		files = append(files, f)
		contract += f.Services().Len()
		return true
	})
	require.GreaterOrEqual(t, contract, 4, "services of the contract")

	methods := map[Action]bool{}
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				action := Action(fmt.Sprintf("/%s/%s", service.FullName(), service.Methods().Get(j).Name()))
				methods[action] = true
				require.NotEqual(t, permissionNone, policy[action], "%s has no permission in policy.go", action)
			}
		}
	}
	for action := range policy {
		if action[0] == '/' {
			require.True(t, methods[action], "%s is in policy.go and nowhere else", action)
		}
	}
}

func TestDecide(t *testing.T) {
	kinds := []Kind{KindAnonymous, KindAgent, KindUser, KindToken, KindLocal, Kind(99)}
	// The kinds that may, by permission.
	for name, test := range map[string]struct {
		options Options
		want    map[Permission][]Kind
	}{
		"all secrets set": {guarded(), map[Permission][]Kind{
			Open: kinds, Ingest: {KindAgent}, Read: {KindUser, KindToken}, Admin: {KindUser}, permissionNone: nil,
		}},
		"no secret set": {Options{}, map[Permission][]Kind{
			Open: kinds, Ingest: {KindAgent, KindLocal}, Read: {KindUser, KindToken, KindLocal}, Admin: {KindUser, KindLocal}, permissionNone: nil,
		}},
		"only a password": {Options{PasswordHash: testHash}, map[Permission][]Kind{
			Ingest: {KindAgent, KindLocal}, Read: {KindUser, KindToken}, Admin: {KindUser},
		}},
		"only an agent token": {Options{AgentToken: testAgentToken}, map[Permission][]Kind{
			Ingest: {KindAgent}, Read: {KindUser, KindToken, KindLocal}, Admin: {KindUser, KindLocal},
		}},
		"only an API token": {Options{APIToken: testAPIToken}, map[Permission][]Kind{
			Ingest: {KindAgent, KindLocal}, Read: {KindUser, KindToken, KindLocal}, Admin: {KindUser, KindLocal},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newRig(t, test.options).Authoriser
			actions := map[Permission]Action{
				Open: actionHealth, Ingest: gohubv1.IngestService_Stream_FullMethodName,
				Read: gohubv1.QueryService_ListHosts_FullMethodName, Admin: actionChange, permissionNone: "/gohub.v1.Unknown/Call",
			}
			for permission, may := range test.want {
				for _, kind := range kinds {
					err := a.Decide(Principal{Kind: kind}, actions[permission])
					allowed := false
					for _, k := range may {
						allowed = allowed || k == kind
					}
					switch {
					case allowed:
						require.NoError(t, err, "%s, %s", kind, actions[permission])
					case permission != permissionNone && (kind == KindAnonymous || kind == KindLocal):
						require.ErrorIs(t, err, ErrUnauthenticated, "%s, %s", kind, actions[permission])
					default:
						require.ErrorIs(t, err, ErrForbidden, "%s, %s", kind, actions[permission])
					}
				}
			}
		})
	}
}
