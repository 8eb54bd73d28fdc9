# Data for models with known sampling variances: of every school in mathachieve.csv, the least-squares slope of MathAch
# on CSES and the squared standard error of that slope. Run in the root of the repository.
d <- read.csv("tests/reference/data/mathachieve.csv", na.strings = "NA")
one <- function(s) {
  f <- summary(lm(MathAch ~ CSES, s))$coefficients["CSES", ]
  data.frame(School = s$School[1], Sector = s$Sector[1], n = nrow(s), slope = f[["Estimate"]], v = f[["Std. Error"]]^2)
}
out <- do.call(rbind, lapply(split(d, d$School), one))
out$slope <- signif(out$slope, 12)
out$v <- signif(out$v, 12)
write.csv(out, "contrib/reference-values/nlme/data/school_slopes.csv", row.names = FALSE, quote = FALSE)
