// Package agent measures the machine it runs on and streams what it measures to a GoHub server.
//
// It is the left end of the data's path:
//
//	clock tick ─▶ Sampler (collectors) ─▶ Spool ─▶ stream ──gRPC──▶ the server's ingest
//	                                        ▲                │
//	                                        └───── acks ─────┘
//
// The Sampler takes one sample a tick, the Spool numbers it as a batch and keeps it until the server says that it is
// stored, and the stream sends what the spool holds, again where it must. After an outage it sends what has gathered in
// compressed bundles, and shows each new sample at once meanwhile. The agent only sends: nothing in the contract lets the
// server run anything here.
//
// A value that the operating system does not give is absent (a nil pointer), never 0.
package agent
