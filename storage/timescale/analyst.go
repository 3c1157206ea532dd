package timescale

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	pgxv5 "github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// What an analyst's session is held to. The role may change the first three for a session of its own; what protects the data
// is that it has no privilege but to read the views.
const analystSettings = `default_transaction_read_only = on|statement_timeout = '60s'|idle_in_transaction_session_timeout = '60s'`

// analystConnections leaves the server its own.
const analystConnections = 5

// ErrAnalystExists: the role is there, and was not to be changed.
var ErrAnalystExists = errors.New("there is such a role already")

// SetAnalyst makes a login role that may read the views of the schema analysis and nothing else, or, if change is set, gives the one that is
// there a new password and the privileges anew. It returns the role's connection URL, without the password, or ErrAnalystExists (wrapped).
// A role is one for all databases of a cluster.
func SetAnalyst(ctx context.Context, databaseURL, name, password string, change bool) (string, error) {
	verifier, err := scramVerifier(password)
	if err != nil {
		return "", err
	}
	var address string
	err = asOwner(ctx, databaseURL, name, func(tx pgxv5.Tx, there bool) error {
		role := pgxv5.Identifier{name}.Sanitize()
		do := "CREATE"
		if there && !change {
			return ErrAnalystExists
		}
		if there {
			do = "ALTER"
		}
		// The database reads no parameters here. A verifier has no character that would need quoting, and the password
		// itself, which would be in the database's log, is not sent.
		login := fmt.Sprintf("%s ROLE %s LOGIN CONNECTION LIMIT %d PASSWORD '%s'", do, role, analystConnections, verifier)
		if err := run(ctx, tx, login); err != nil {
			return mayNotMakeRoles(err, do, role)
		}
		var statements []string
		for setting := range strings.SplitSeq(analystSettings, "|") {
			statements = append(statements, "ALTER ROLE "+role+" SET "+setting)
		}
		config := tx.Conn().Config()
		database := pgxv5.Identifier{config.Database}.Sanitize()
		// Without the second, everyone may make temporary tables.
		statements = append(statements,
			"GRANT CONNECT ON DATABASE "+database+" TO "+role,
			"REVOKE TEMPORARY ON DATABASE "+database+" FROM PUBLIC",
			"GRANT USAGE ON SCHEMA analysis TO "+role,
			"GRANT SELECT ON ALL TABLES IN SCHEMA analysis TO "+role,
			"ALTER DEFAULT PRIVILEGES IN SCHEMA analysis GRANT SELECT ON TABLES TO "+role)
		address = (&url.URL{
			Scheme: "postgres", User: url.User(name), Path: "/" + config.Database,
			Host: net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))),
		}).String()
		return run(ctx, tx, statements...)
	})
	if err != nil {
		return "", fmt.Errorf("make the database role %q: %w", name, err)
	}
	return address, nil
}

// DropAnalyst takes away a role that SetAnalyst made, with the large objects that it has made in the database, which everybody may. A role
// that may read another database too stays, for that one: dropped is false then. One that may do anything else here is not touched.
func DropAnalyst(ctx context.Context, databaseURL, name string) (dropped bool, err error) {
	err = asOwner(ctx, databaseURL, name, func(tx pgxv5.Tx, there bool) error {
		if !there {
			return errors.New("there is no such role")
		}
		role := pgxv5.Identifier{name}.Sanitize()
		err := run(ctx, tx,
			"ALTER DEFAULT PRIVILEGES IN SCHEMA analysis REVOKE SELECT ON TABLES FROM "+role,
			"REVOKE ALL ON ALL TABLES IN SCHEMA analysis FROM "+role,
			"REVOKE ALL ON SCHEMA analysis FROM "+role,
			"REVOKE ALL ON DATABASE "+pgxv5.Identifier{tx.Conn().Config().Database}.Sanitize()+" FROM "+role)
		if err != nil {
			return err
		}
		if err := dropLargeObjects(ctx, tx, name); err != nil {
			return mayNotMakeRoles(err, "DROP", role)
		}
		err = pgxv5.BeginFunc(ctx, tx, func(tx pgxv5.Tx) error { return run(ctx, tx, "DROP ROLE "+role) })
		var failure *pgconn.PgError
		if errors.As(err, &failure) && failure.Code == "2BP01" { // dependent_objects_still_exist
			here, unknown := dependsHere(ctx, tx, name)
			if unknown != nil || !here {
				return unknown
			}
			return fmt.Errorf("%w: %s", err, failure.Detail)
		}
		dropped = err == nil
		return mayNotMakeRoles(err, "DROP", role)
	})
	if err != nil {
		return false, fmt.Errorf("drop the database role %q: %w", name, err)
	}
	return dropped, nil
}

// dropLargeObjects drops those of a role in the database.
func dropLargeObjects(ctx context.Context, tx pgxv5.Tx, name string) error {
	const owned = " FROM pg_largeobject_metadata WHERE lomowner = (SELECT oid FROM pg_roles WHERE rolname = $1)"
	var some bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT"+owned+")", name).Scan(&some); err != nil || !some {
		return err
	}
	// Whose they are may drop them, and his members.
	role := pgxv5.Identifier{name}.Sanitize()
	if err := run(ctx, tx, "GRANT "+role+" TO CURRENT_USER"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SELECT lo_unlink(oid)"+owned, name); err != nil {
		return err
	}
	return run(ctx, tx, "REVOKE "+role+" FROM CURRENT_USER")
}

// dependsHere tells whether something in the database, or of the whole cluster but its other databases, is a role's or knows of it.
func dependsHere(ctx context.Context, tx pgxv5.Tx, name string) (here bool, err error) {
	err = tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM pg_shdepend AS d, (SELECT oid FROM pg_database WHERE datname = current_database()) AS this
			WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
				AND (dbid = this.oid OR dbid = 0 AND (classid <> 'pg_database'::regclass OR objid = this.oid)))`, name).Scan(&here)
	return here, err
}

// asOwner runs work in a transaction of the server's role, once it is sure that the name is, or may be, that of an analyst.
func asOwner(ctx context.Context, databaseURL, name string, work func(tx pgxv5.Tx, there bool) error) error {
	if err := checkRoleName(name); err != nil {
		return err
	}
	config, err := pgxv5.ParseConfig(databaseURL)
	if err != nil {
		return fmt.Errorf("parse the database URL: %w", err)
	}
	connection, err := pgxv5.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", classify(err))
	}
	defer connection.Close(context.WithoutCancel(ctx))
	return pgxv5.BeginFunc(ctx, connection, func(tx pgxv5.Tx) error {
		var views bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('analysis.hosts') IS NOT NULL").Scan(&views); err != nil {
			return err
		}
		if !views {
			return errors.New("the database has no views for analysts yet: start gohub-server on it once")
		}
		// A role that may do more is somebody else's: to take it over would lock its owner out, or let an analyst in further.
		var more bool
		err := tx.QueryRow(ctx, `
			SELECT rolname = current_user OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
			       OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
			       OR EXISTS (SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = pg_roles.oid AND deptype = 'o' AND classid <> 'pg_largeobject'::regclass)
			FROM pg_roles WHERE rolname = $1`, name).Scan(&more)
		if errors.Is(err, pgxv5.ErrNoRows) {
			return work(tx, false)
		}
		if err != nil {
			return err
		}
		if more {
			return errors.New("there is such a role, and it may do or owns more than an analyst's; choose another name")
		}
		return work(tx, true)
	})
}

// maxRoleName is PostgreSQL's: it would cut a longer name without a word.
const maxRoleName = 63

func checkRoleName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxRoleName:
		return fmt.Errorf("the name has %d bytes, the most is %d", len(name), maxRoleName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("the name has characters that can not be printed")
	case strings.HasPrefix(name, "pg_") || name == "public" || name == "none":
		return errors.New("PostgreSQL keeps this name to itself")
	}
	return nil
}

func run(ctx context.Context, tx pgxv5.Tx, statements ...string) error {
	for _, statement := range statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return classify(err)
		}
	}
	return nil
}

// mayNotMakeRoles says what to do where the server's role lacks the privilege.
func mayNotMakeRoles(err error, do, role string) error {
	var failure *pgconn.PgError
	if !errors.As(err, &failure) || failure.Code != "42501" {
		return err
	}
	if do == "CREATE" {
		return fmt.Errorf("the server's role may not create roles; have an administrator run: ALTER ROLE <the server's role> CREATEROLE; (%w)", err)
	}
	return fmt.Errorf("the server's role may not change this one; have an administrator run: GRANT %s TO <the server's role> WITH ADMIN OPTION; (%w)", role, err)
}

// scramVerifier is what PostgreSQL keeps of a password (RFC 5803): from it nobody can log in. Other than ASCII would have to
// be normalised as every client does, and not all do.
func scramVerifier(password string) (string, error) {
	const iterations, least, most = 4096, 12, 1000 // the first is PostgreSQL's own
	if len(password) < least || len(password) > most {
		return "", fmt.Errorf("the password has %d characters; it must have %d to %d", len(password), least, most)
	}
	if strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", errors.New("the password has characters other than printable ASCII")
	}
	salt := make([]byte, 16)
	rand.Read(salt) //nolint:errcheck // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hash the password: %w", err)
	}
	keyed := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(keyed("Client Key"))
	text := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, text(salt), text(stored[:]), text(keyed("Server Key"))), nil
}
