package query

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	gohubv1 "github.com/gohub-io/gohub/proto/gohub/v1"
	"github.com/gohub-io/gohub/query/openapi"
)

// RangePath and HostsPath are where QueryRange and ListHosts are reached over HTTP.
const (
	RangePath = "/api/v1/range"
	HostsPath = "/api/v1/hosts"
)

// mediaTypes of the formats.
var mediaTypes = map[string]string{
	"json": "application/json", "csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson",
}

// Formats returns a handler that answers range queries as JSON, CSV or newline-delimited JSON, and lists hosts, and passes
// everything else on to the gateway. It writes JSON too: numbers column by column, and null where a bucket has no reading, which
// the gateway would write as the text "NaN"; hosts as they are encoded already.
func (s *Service) Formats(gateway http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		switch r.URL.Path {
		case RangePath:
			err = s.serveRange(w, r)
		case HostsPath:
			err = s.serveHosts(w, r)
		default:
			ctx, of := s.withShare(r.Context())
			defer of.release()
			gateway.ServeHTTP(w, r.WithContext(ctx))
		}
		if err != nil {
			problem := status.Convert(err)
			openapi.Refuse(w, runtime.HTTPStatusFromCode(problem.Code()), problem.Code(), problem.Message())
		}
	})
}

// serveRange returns an error only if nothing is written yet.
func (s *Service) serveRange(w http.ResponseWriter, r *http.Request) error {
	request := &gohubv1.QueryRangeRequest{}
	if err := runtime.PopulateQueryParameters(request, r.URL.Query(), utilities.NewDoubleArray(nil)); err != nil {
		return status.Errorf(codes.InvalidArgument, "a parameter can not be read: %v", err)
	}
	format, err := chooseFormat(request.GetFormat(), r.Header.Get("Accept"))
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	ctx, of := s.withShare(r.Context())
	defer of.release() // the HTTP server's timeout bounds how long writing takes
	response, err := s.QueryRange(ctx, request)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", mediaTypes[format])
	w.Header().Add("Vary", "Accept")
	out := bufio.NewWriterSize(w, 64<<10)
	switch format {
	case "csv":
		tell(w.Header(), response)
		w.Header().Set("Content-Disposition", `attachment; filename="gohub-range.csv"`)
		err = writeCSV(out, response.GetSeries())
	case "ndjson":
		tell(w.Header(), response)
		err = writeLines(out, response.GetSeries())
	default:
		err = writeJSON(out, response)
	}
	if err != nil {
		s.options.Logger.Debug("an answer was not taken whole", "error", err) // the client is gone, no one to tell
		return nil
	}
	_ = out.Flush() // see above
	return nil
}

// tell puts into headers what a list of points has no place for.
func tell(header http.Header, response *gohubv1.QueryRangeResponse) {
	header.Set("Gohub-Resolution", response.GetResolution())
	header.Set("Gohub-Source", response.GetSource())
	header.Set("Gohub-Step", strconv.FormatFloat(response.GetStep(), 'f', -1, 64))
	for _, note := range response.GetNotes() {
		header.Add("Gohub-Note", note)
	}
}

// chooseFormat reads the parameter, and without it the header.
func chooseFormat(format, accept string) (string, error) {
	if format != "" {
		if mediaTypes[format] == "" {
			return "", fmt.Errorf("format is %q; it is json, csv or ndjson", clip(format))
		}
		return format, nil
	}
	for kind := range strings.SplitSeq(accept, ",") {
		kind, _, _ = strings.Cut(kind, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/csv":
			return "csv", nil
		case "application/x-ndjson", "application/ndjson":
			return "ndjson", nil
		case "application/json", "*/*":
			return "json", nil
		}
	}
	return "json", nil
}

// appendNumber appends a value, and nothing as null.
func appendNumber(buf []byte, value float64) []byte {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		return append(buf, "null"...)
	}
	return strconv.AppendFloat(buf, value, 'g', -1, 64)
}

// appendText appends a value as JSON.
func appendText(buf []byte, value any) []byte {
	text, err := json.Marshal(value)
	if err != nil { // strings and maps of strings can always be written
		return append(buf, "null"...)
	}
	return append(buf, text...)
}

func writeJSON(out *bufio.Writer, response *gohubv1.QueryRangeResponse) error {
	series := response.GetSeries()
	response.Series = nil
	loose, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(response)
	response.Series = series
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	var head bytes.Buffer
	if err := json.Compact(&head, loose); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	before, after, _ := bytes.Cut(head.Bytes(), []byte(`"series":[]`))
	out.Write(before) //nolint:errcheck // a bufio.Writer keeps its first error, and Flush tells it
	out.WriteString(`"series":[`)
	var buf []byte
	for i, one := range series {
		buf = buf[:0]
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendText(append(buf, `{"metric":`...), one.GetMetric())
		buf = appendText(append(buf, `,"labels":`...), present(one.GetLabels()))
		for _, column := range []struct {
			name   string
			values []float64
		}{{"times", one.GetTimes()}, {"avg", one.GetAvg()}, {"min", one.GetMin()}, {"max", one.GetMax()}} {
			buf = append(append(append(buf, `,"`...), column.name...), `":[`...)
			for j, value := range column.values {
				if j > 0 {
					buf = append(buf, ',')
				}
				if column.name == "times" {
					buf = strconv.AppendFloat(buf, value, 'f', -1, 64)
				} else {
					buf = appendNumber(buf, value)
				}
			}
			buf = append(buf, ']')
		}
		buf = strconv.AppendUint(append(buf, `,"hostId":`...), uint64(one.GetHostId()), 10)
		buf = appendText(append(buf, `,"hostname":`...), one.GetHostname())
		buf = appendText(append(buf, `,"group":`...), present(one.GetGroup()))
		buf = appendNumber(append(buf, `,"offset":`...), one.GetOffset())
		out.Write(append(buf, '}'))
	}
	out.WriteByte(']')
	_, err = out.Write(after)
	return err
}

func present(labels map[string]string) map[string]string {
	if labels == nil {
		return map[string]string{}
	}
	return labels
}

// moment is a bucket's start as text.
func moment(seconds float64) string {
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

// writeLines writes an object a point.
func writeLines(out *bufio.Writer, series []*gohubv1.Series) error {
	var head, buf []byte
	for _, one := range series {
		head = appendText(append(head[:0], `,"metric":`...), one.GetMetric())
		if one.GetHostId() != 0 {
			head = strconv.AppendUint(append(head, `,"hostId":`...), uint64(one.GetHostId()), 10)
			head = appendText(append(head, `,"hostname":`...), one.GetHostname())
		}
		if len(one.GetGroup()) > 0 {
			head = appendText(append(head, `,"group":`...), one.GetGroup())
		}
		if len(one.GetLabels()) > 0 {
			head = appendText(append(head, `,"labels":`...), one.GetLabels())
		}
		if one.GetOffset() != 0 {
			head = appendNumber(append(head, `,"offset":`...), one.GetOffset())
		}
		for i, at := range one.GetTimes() {
			buf = append(append(append(buf[:0], `{"time":"`...), moment(at)...), '"')
			buf = append(buf, head...)
			buf = appendNumber(append(buf, `,"avg":`...), one.GetAvg()[i])
			buf = appendNumber(append(buf, `,"min":`...), one.GetMin()[i])
			buf = appendNumber(append(buf, `,"max":`...), one.GetMax()[i])
			if _, err := out.Write(append(buf, '}', '\n')); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeCSV writes a line a point. The columns between the metric and the numbers are what tells the series apart.
func writeCSV(out *bufio.Writer, series []*gohubv1.Series) error {
	groups, labels := map[string]bool{}, map[string]bool{}
	var single, compared bool
	for _, one := range series {
		single = single || one.GetHostId() != 0
		compared = compared || one.GetOffset() != 0
		for name := range one.GetGroup() {
			groups[name] = true
		}
		for name := range one.GetLabels() {
			labels[name] = true
		}
	}
	header := []string{"time", "metric"}
	if single || len(series) == 0 {
		header = append(header, "host_id", "hostname")
	}
	groupNames, labelNames := slices.Sorted(maps.Keys(groups)), slices.Sorted(maps.Keys(labels))
	// In groups, host_id and hostname are the hosts' own.
	header = append(header, exported(groupNames, []string{"time", "metric", "offset", "avg", "min", "max"})...)
	header = append(header, exported(labelNames, append(slices.Clone(header), ownColumns...))...)
	if compared {
		header = append(header, "offset")
	}
	lines := csv.NewWriter(out)
	if err := lines.Write(append(header, "avg", "min", "max")); err != nil {
		return err
	}
	record := make([]string, 0, len(header)+3)
	for _, one := range series {
		head := []string{one.GetMetric()}
		if single {
			head = append(head, strconv.FormatUint(uint64(one.GetHostId()), 10), cell(one.GetHostname()))
		}
		for _, name := range groupNames {
			head = append(head, cell(one.GetGroup()[name]))
		}
		for _, name := range labelNames {
			head = append(head, cell(one.GetLabels()[name]))
		}
		if compared {
			head = append(head, strconv.FormatFloat(one.GetOffset(), 'f', -1, 64))
		}
		for i, at := range one.GetTimes() {
			record = append(append(record[:0], moment(at)), head...)
			for _, value := range []float64{one.GetAvg()[i], one.GetMin()[i], one.GetMax()[i]} {
				text := ""
				if !math.IsNaN(value) {
					text = strconv.FormatFloat(value, 'g', -1, 64)
				}
				record = append(record, text)
			}
			if err := lines.Write(record); err != nil {
				return err
			}
		}
	}
	lines.Flush()
	return lines.Error()
}

// ownColumns are the names that columns of CSV have by themselves, be they there or not: what a label's is called should not depend
// on what else is asked for.
var ownColumns = []string{"time", "metric", "host_id", "hostname", "offset", "avg", "min", "max"}

// exported names the columns of labels. Those whose names are taken have the names that the exposition gives such labels.
func exported(names, taken []string) []string {
	columns := make([]string, len(names))
	for i, name := range names {
		columns[i] = name
		for slices.Contains(taken, columns[i]) || columns[i] != name && slices.Contains(names, columns[i]) {
			columns[i] = "exported_" + columns[i]
		}
		taken = append(taken, columns[i])
	}
	return columns
}

// cell keeps a spreadsheet from taking a name from a host for a formula: an apostrophe before it says that it is text.
func cell(text string) string {
	if text != "" && strings.ContainsRune("=+-@\t\r", rune(text[0])) {
		return "'" + text
	}
	return text
}
