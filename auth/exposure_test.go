package auth

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

// names stands for the name servers.
func names(_ context.Context, _, host string) ([]netip.Addr, error) {
	found := map[string][]netip.Addr{
		"loop.example":  {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")},
		"mixed.example": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.7")},
		"far.example":   {netip.MustParseAddr("192.0.2.7")},
		"empty.example": {},
	}
	addresses, ok := found[host]
	if !ok {
		return nil, errors.New("no such host")
	}
	return addresses, nil
}

func TestLoopbackListen(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:7700": true, "127.0.0.5:7700": true, "127.0.0.5": true, "localhost:7700": true, "localhost": true,
		"LocalHost:0": true, "localhost.:7700": true, "[::1]:7700": true, "::1": true, "[::1]": true,
		"[::ffff:127.0.0.1]:7700": true, "unix:/run/gohub.sock": true, "unix:gohub.sock": true, "/run/gohub.sock": true, "@gohub": true,
		"loop.example:7700": true,

		"": false, ":7700": false, ":0": false, "0.0.0.0": false, "0.0.0.0:7700": false, "[::]:7700": false, "::": false,
		"192.0.2.7:7700": false, "10.0.0.1:7700": false, "128.0.0.1:7700": false, "[::ffff:0.0.0.0]:7700": false, "[fe80::1%eth0]:7700": false,
		"mixed.example:7700": false, "far.example:7700": false, "empty.example:7700": false, "unknown.example:7700": false,
		"localhost.example:7700": false, "notlocalhost:7700": false, "127.0.0.1.example:7700": false, "*:7700": false, "127.1:7700": false,
	} {
		require.Equal(t, want, isLoopbackListen(address, names), "%q", address)
	}
}

func TestExposureIsRefusedWithoutItsGuards(t *testing.T) {
	const near, far = "127.0.0.1:7700", "0.0.0.0:7700"
	noToken, noPassword, noTLS := "set agent_token", "set password_hash", "set tls_cert_file and tls_key_file, or set insecure_plaintext"
	for name, test := range map[string]struct {
		exposure Exposure
		want     []string // none: it may start
		absent   []string
	}{
		"loopback needs nothing": {Exposure{HTTPListen: near, GRPCListen: "localhost:7701"}, nil, nil},
		"everything set, TLS":    {Exposure{HTTPListen: far, GRPCListen: ":7701", HasTLS: true, HasAgentToken: true, HasPassword: true}, nil, nil},
		"everything set, plain":  {Exposure{HTTPListen: far, GRPCListen: ":7701", AllowPlaintext: true, HasAgentToken: true, HasPassword: true}, nil, nil},
		"nothing set": {
			Exposure{HTTPListen: far, GRPCListen: ":7701"},
			[]string{`http_listen is "0.0.0.0:7700"`, `grpc_listen is ":7701"`, noToken, noPassword, noTLS, "or listen on 127.0.0.1"},
			nil,
		},
		"HTTP only": {
			Exposure{HTTPListen: far, GRPCListen: near},
			[]string{`http_listen is "0.0.0.0:7700"`, noToken, noPassword, noTLS},
			[]string{"grpc_listen"},
		},
		"gRPC only": {
			Exposure{HTTPListen: near, GRPCListen: far, HasTLS: true},
			[]string{`grpc_listen is "0.0.0.0:7700"`, noToken, noPassword},
			[]string{"http_listen", noTLS},
		},
		"no password":    {Exposure{HTTPListen: far, GRPCListen: far, HasTLS: true, HasAgentToken: true}, []string{noPassword}, []string{noToken, noTLS}},
		"no agent token": {Exposure{HTTPListen: far, GRPCListen: far, HasTLS: true, HasPassword: true}, []string{noToken}, []string{noPassword, noTLS}},
		"no TLS":         {Exposure{HTTPListen: far, GRPCListen: far, HasAgentToken: true, HasPassword: true}, []string{noTLS}, []string{noToken, noPassword}},
		"plain is not enough": {
			Exposure{HTTPListen: far, GRPCListen: far, AllowPlaintext: true},
			[]string{noToken, noPassword},
			[]string{noTLS},
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.exposure.check(names)
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			for _, absent := range test.absent {
				require.NotContains(t, err.Error(), absent)
			}
		})
	}
}

func TestCheckExposureOfLiteralAddresses(t *testing.T) {
	require.NoError(t, CheckExposure(Exposure{HTTPListen: "127.0.0.1:0", GRPCListen: "[::1]:0"}))
	require.Error(t, CheckExposure(Exposure{HTTPListen: "127.0.0.1:0", GRPCListen: ":0"}))
}

func TestClusterExposureIsRefusedWithoutItsGuards(t *testing.T) {
	const near, far, secret = "127.0.0.1:7702", "0.0.0.0:7702", "a secret of the cluster"
	for name, test := range map[string]struct {
		listen, secret string
		tls, plain     bool
		want           []string // none: it may start
	}{
		"loopback needs nothing":  {near, "", false, false, nil},
		"everything set, TLS":     {far, secret, true, false, nil},
		"everything set, plain":   {far, secret, false, true, nil},
		"nothing set":             {far, "", false, false, []string{`cluster_listen is "0.0.0.0:7702"`, "set cluster_secret", "set tls_cert_file"}},
		"no secret":               {far, "", true, false, []string{"set cluster_secret"}},
		"no TLS":                  {far, secret, false, false, []string{"insecure_plaintext"}},
		"a short secret anywhere": {near, "short", false, false, []string{"at least 16"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkClusterExposure(test.listen, test.secret, test.tls, test.plain, names)
			if test.want == nil {
				require.NoError(t, err)
			}
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			if err != nil {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}
