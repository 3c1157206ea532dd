package auth

import (
	"errors"
	"io/fs"
	"net/http"
	"strings"
)

const (
	// defaultPagePolicy is for a dashboard whose policy nobody gave; it allows no inline script.
	defaultPagePolicy = "default-src 'self'; base-uri 'none'; form-action 'self'; object-src 'none'"
	noFraming         = "frame-ancestors 'none'"
	// dataPolicy is for what is no page: even if a browser is made to show it, it does nothing.
	dataPolicy = "default-src 'none'; " + noFraming
	// hsts is a year, without sub-domains: they may be others'.
	hsts = "max-age=31536000"
)

func pagePolicy(given string) (string, error) {
	if strings.ContainsAny(given, "\r\n") {
		return "", errors.New("the content security policy has a line break")
	}
	given = strings.TrimRight(given, "; ")
	if given == "" {
		given = defaultPagePolicy
	}
	if !strings.Contains(given, "frame-ancestors") {
		given += "; " + noFraming
	}
	return given, nil
}

// setHeaders sets what every answer carries. A handler may replace Cache-Control.
func (a *Authoriser) setHeaders(h http.Header, action Action) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if a.hsts {
		h.Set("Strict-Transport-Security", hsts)
	}
	switch action {
	case actionStatic, actionOther:
		h.Set("Content-Security-Policy", a.csp)
	default:
		h.Set("Content-Security-Policy", dataPolicy)
		h.Set("Cache-Control", "no-store")
	}
}

// StaticPaths returns, for Options.Static, whether a path is a file of the dashboard, or a folder that has an
// index.html, with or without its trailing slash. Hidden files are none. It fails where the files can not be listed.
func StaticPaths(files fs.FS) (func(path string) bool, error) {
	paths := make(map[string]bool)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name != "." && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		paths["/"+name] = true
		if folder, ok := strings.CutSuffix("/"+name, "/index.html"); ok {
			paths[folder+"/"] = true
			if folder != "" {
				paths[folder] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return func(path string) bool { return paths[path] }, nil
}
