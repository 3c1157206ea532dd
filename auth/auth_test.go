package auth

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestNewRefusesBadOptionsWithoutTellingSecrets(t *testing.T) {
	const short, spaced, weak = "tooShort", "a token with spaces in it", "seven77"
	for name, test := range map[string]struct {
		options Options
		want    string
		secret  string
	}{
		"short agent token":    {Options{AgentToken: short}, "agent_token has 8 characters, it needs at least 16", short},
		"short API token":      {Options{APIToken: short}, "api_token has 8 characters", short},
		"token with spaces":    {Options{APIToken: spaced}, "api_token has a space", spaced},
		"token of two lines":   {Options{AgentToken: testAgentToken + "\n"}, "agent_token has a space", testAgentToken},
		"endless token":        {Options{APIToken: strings.Repeat("x", 513)}, "longer than 512", "xxxx"},
		"same tokens":          {Options{AgentToken: testAgentToken, APIToken: testAgentToken}, "are the same", testAgentToken},
		"short password":       {Options{Password: weak, Sessions: newSessions()}, "password: the password has 7 characters, it needs at least 8", weak},
		"endless password":     {Options{Password: strings.Repeat("x", 1025), Sessions: newSessions()}, "longer than 1024", "xxxx"},
		"password and hash":    {Options{Password: testPassword, PasswordHash: testHash, Sessions: newSessions()}, "both set", testPassword},
		"hash of other sort":   {Options{PasswordHash: "$2a$10$abcdefghijklmnopqrstuv", Sessions: newSessions()}, "password_hash: it must be an argon2id hash", "abcdefg"},
		"no session store":     {Options{PasswordHash: testHash}, "needs a session store", testHash},
		"policy of two lines":  {Options{ContentSecurityPolicy: "default-src 'self'\nX: y"}, "line break", ""},
		"origin with no shape": {Options{TrustedOrigins: []string{"example.org/path"}}, "trusted origin", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := New(test.options)
			require.Nil(t, a)
			require.ErrorContains(t, err, test.want)
			if test.secret != "" {
				require.NotContains(t, err.Error(), test.secret)
			}
		})
	}
}

func TestPlainPasswordIsTakenAndNewOnesEndSessions(t *testing.T) {
	first := newRig(t, Options{Password: testPassword})
	again := newRig(t, Options{Password: testPassword})
	other := newRig(t, Options{Password: testPassword + "!"})
	require.Equal(t, first.sessionHash("cookie"), again.sessionHash("cookie"), "a restart keeps sessions")
	require.NotEqual(t, first.sessionHash("cookie"), other.sessionHash("cookie"), "another password does not")

	right, err := first.password.verify(t.Context(), testPassword)
	require.NoError(t, err)
	require.True(t, right)
	right, err = first.password.verify(t.Context(), testPassword+"!")
	require.NoError(t, err)
	require.False(t, right)
}

func TestSecretMatchesItsTokenOnly(t *testing.T) {
	s, err := newSecret(keyAPIToken, testAPIToken)
	require.NoError(t, err)
	require.True(t, s.matches(testAPIToken))
	for _, other := range []string{"", testAPIToken[1:], testAPIToken + "x", strings.ToUpper(testAPIToken), testAgentToken} {
		require.False(t, s.matches(other), other)
	}
	var none *secret
	require.False(t, none.matches(""), "no token is not the empty token")
}

func TestMetricsAreWellNamed(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	newMetrics(registry)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}
